"""Golden numbers: reference values of the official code, and the formula of its inputs.

Entry i of an ordered list of (name, shape), and flat index j in C order, have the value
sin(c0 + c1 i + c2 j + c3 (j^2 mod 9973)), scaled by its role; see :func:`fill`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "golden"

Entries = list[tuple[str, tuple[int, ...]]]


@cache
def load(name: str) -> dict[str, NDArray]:
    """The arrays of golden/<name>.npz."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


@cache
def entries(file: str, container: str) -> Entries:
    """The ordered (official name, shape) list of one container in golden/entries_<file>.json."""
    lists = json.loads((FOLDER / f"entries_{file}.json").read_text())
    return [(name, tuple(shape)) for name, shape in lists[container]]


def wave(shape: Sequence[int], constants: Sequence[float], index: int = 0) -> NDArray[np.float64]:
    """The formula's values for entry ``index`` of the given shape."""
    j = np.arange(np.prod(shape), dtype=np.int64)
    q = (j * j) % 9973
    c0, c1, c2, c3 = constants
    return np.sin(c0 + c1 * index + c2 * j + c3 * q).reshape(tuple(shape))


def fill(ordered: Entries, constants: Sequence[float]) -> dict[str, Tensor]:
    """Return the state dict, float32 with official names, that the official module was given."""
    state = {}
    for index, (name, shape) in enumerate(ordered):
        values = wave(shape, constants, index)
        if len(shape) > 1:
            values = values * np.sqrt(4 / np.prod(shape[1:]))
        elif name.endswith("running_var") or name.endswith("weight"):
            values = 1 + 0.1 * values
        else:
            values = 0.1 * values
        state[name] = torch.from_numpy(values.astype(np.float32))
    return state


def inputs(shape: Sequence[int], constants: Sequence[float]) -> Tensor:
    """The formula input of this shape, float32."""
    return torch.from_numpy((np.sqrt(2) * wave(shape, constants)).astype(np.float32))


def sums(tensor: Tensor) -> NDArray[np.float64]:
    """[sum, sum of absolute values, minimum, maximum] of a whole tensor."""
    values = tensor.detach().double()
    return np.array([values.sum(), values.abs().sum(), values.min(), values.max()])


def largest_difference(found: Tensor | NDArray, expected: NDArray) -> float:
    """The largest absolute difference, relative to the largest absolute entry of ``expected``."""
    values = (
        found.detach().double().numpy()
        if isinstance(found, Tensor)
        else np.asarray(found, dtype=np.float64)
    )
    return float(np.abs(values - expected).max() / np.abs(expected).max())
