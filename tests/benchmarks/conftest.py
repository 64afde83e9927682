"""Runs the programs of benchmarks/ in this process."""

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

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
