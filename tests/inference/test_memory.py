"""The memory that a prediction needs at least is not more than what it takes."""

import itertools
import math

import pytest
import torch

from crossview.inference import memory, windows
from crossview.inference.memory import CLEANING, needed_memory
from crossview.inference.windows import Windows

SHAPE, PATCH = (24, 16, 12), (8, 8, 6)


@pytest.mark.parametrize(("classes", "dtype"), [(9, torch.float32), (90, torch.float16)])
def test_the_sums_of_windows_are_counted_as_they_are_kept(monkeypatch, classes, dtype):
    for module in (memory, windows):
        monkeypatch.setattr(module, "HALVED", 2**17)
    monkeypatch.setattr(windows, "BLOCK", 1)
    parts = Windows(torch.zeros(1, *SHAPE), PATCH, PATCH)
    for index in itertools.takewhile(lambda each: parts.corners[each][0] == 0, range(len(parts))):
        parts.add(index, torch.zeros(1, classes - 1, *PATCH))
    assert {block.dtype for block in parts.blocks.values()} == {dtype}
    held = sum(block.nbytes for block in parts.blocks.values())
    voxels = math.prod(SHAPE)
    assert needed_memory(SHAPE, SHAPE, 1, classes, PATCH) == 4 * voxels + held + CLEANING * voxels
