"""Runs the programs of benchmarks/ in this process."""

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return program(name, *words, sets=()), which runs a benchmark and returns its results."""

    def run(name: str, *words: object, sets: tuple[str, ...] = ()) -> dict[str, Any]:
        file = tmp_path / f"{name}.json"
        chosen = [text for each in sets for text in ("--set", each)]
        monkeypatch.setattr(
            sys, "argv", [name, *map(str, words), *chosen, "--device", "cpu", "--json", str(file)]
        )
        import_module(f"benchmarks.{name}").main()
        content = json.loads(file.read_text())
        assert content["benchmark"] == name
        assert content["machine"]["torch"]
        assert str(tmp_path) not in file.read_text(), (
            "a results file names no folder of the machine"
        )
        return content["results"]

    return run


@pytest.fixture
def labels() -> tuple[Any, Any]:
    """Two cases of two classes, with a speck apart from class 1's prediction in the second."""
    truth = np.zeros((2, 8, 8, 4), np.uint8)
    truth[:, 1:3, 1:5] = 1
    truth[:, 4:6, 1:5] = 2
    predicted = truth.copy()
    predicted[1, 7, 7, 3] = 1
    return truth, predicted


@pytest.fixture
def save() -> Callable[..., None]:
    """Return save(folder, arrays, names), which writes scans of 1 by 1 by 2 mm."""

    def write(folder: Path, arrays: Any, names: str = "ab") -> None:
        folder.mkdir(parents=True)
        affine = np.diag([1.0, 1.0, 2.0, 1.0])
        for name, array in zip(names, arrays, strict=True):
            nibabel.save(nibabel.Nifti1Image(array, affine), folder / f"{name}.nii.gz")

    return write
