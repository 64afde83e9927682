"""Volumes beyond the budget lie in a nameless file: the same values in the same places, nothing left behind, a full disk is told."""

import errno
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crossview.core.errors import UserError
from crossview.data import shelf as shelf_module
from crossview.data.memory import Room
from crossview.data.shelf import Shelf
from crossview.data.store import Store

MIXES = {
    "uint8": (40, 40, 40),
    "int16 after uint8": (40, 40, 4000),
    "float16 among uint8": (40, None, 40),
    "float16 from the first on": (None, 40, 4000),
    "float32 after float16": (None, 40, -1),
    "float32 before float16": (-1, None, 40),
}
"""Distinct values of the images; None: so many that they are no table. -1: two, one of them beyond float16."""


def mixed_cases(make_case, levels, *, labelled=True, channels=1):
    generator = np.random.default_rng(3)
    cases = []
    for number, level in enumerate(levels):
        shape = (channels, 30 + number, 25, 4)
        image = (
            generator.normal(size=shape)
            if level is None
            else generator.integers(0, abs(level) + 1, shape) * (1e6 if level == -1 else 0.37)
        )
        label = generator.integers(0, 3, shape[1:]).astype(np.uint8) if labelled else None
        cases.append(make_case(f"case{number}", image.astype(np.float32), label))
    return cases


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("slices", [True, False])
@pytest.mark.parametrize("budget", ["none of it", "all but a byte", "a third"])
def test_a_store_on_disk_is_the_store_in_memory(make_case, tmp_path, mix, labelled, slices, budget):
    cases = mixed_cases(make_case, MIXES[mix], labelled=labelled, channels=2)
    memory = Store(cases, classes=3, channels=2, slices=slices)
    share = {"none of it": 0, "all but a byte": memory.nbytes - 1, "a third": memory.nbytes / 3}[
        budget
    ]
    disk = Store(cases, classes=3, channels=2, slices=slices, room=Room(share, tmp_path))
    assert (memory.on_disk, disk.on_disk) == (False, True)
    assert (memory.in_memory, disk.in_memory) == (memory.nbytes, 0)
    assert disk.voxels.dtype == memory.voxels.dtype
    for name in ("voxels", "values", "labels"):
        one, other = getattr(memory, name), getattr(disk, name)
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)
    for name in ("ids", "shapes", "offsets", "value_offsets", "value_ends", "indexed", "nbytes"):
        assert getattr(memory, name) == getattr(disk, name)
    assert list(tmp_path.iterdir()) == []


def test_float32_is_not_rounded_on_its_way(make_case):
    """A table that is kept exactly while other images come in as float16 is exact at the end."""
    cases = mixed_cases(make_case, (40, None, -1))
    store = Store(cases, classes=3, channels=1)
    assert store.voxels.dtype == torch.float32
    assert np.array_equal(store.stored(0).numpy(), cases[0].read_image())


def test_a_store_within_its_budget_stays_in_memory(make_case, tmp_path):
    cases = mixed_cases(make_case, (40, 40))
    nbytes = Store(cases, classes=3, channels=1).nbytes
    assert not Store(cases, classes=3, channels=1, room=Room(nbytes, tmp_path)).on_disk


def mapped_files():
    return [
        line
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith("(deleted)")
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which files are mapped")
def test_the_file_goes_with_its_store(make_case, tmp_path):
    before = len(mapped_files())
    store = Store(mixed_cases(make_case, (40, 40)), classes=3, channels=1, room=Room(0, tmp_path))
    assert len(mapped_files()) == before + 3
    assert all(line.split()[1].startswith("r--") for line in mapped_files()[-3:])
    del store
    assert len(mapped_files()) == before


def test_a_full_disk_is_told_with_the_sizes(make_case, tmp_path, monkeypatch):
    def full(self, array, add=Shelf.add):
        if self.on_disk and self.nbytes > 4000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(self, array)

    monkeypatch.setattr(Shelf, "add", full)
    with pytest.raises(UserError) as error:
        Store(mixed_cases(make_case, (40,) * 6), classes=3, channels=1, room=Room(0, tmp_path))
    problem = error.value.problems[0]
    assert problem.where == str(tmp_path)
    assert "GB free" in problem.found
    assert "for 6 volumes" in problem.expected
    assert "training.memory_gb" in problem.fix


def test_volumes_that_surely_do_not_fit_are_refused_early(make_case, tmp_path, monkeypatch):
    cases = mixed_cases(make_case, (40,) * 20)
    nbytes = Store(cases, classes=3, channels=1).nbytes
    monkeypatch.setattr(
        shelf_module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free)
    )
    told = []
    free = nbytes // 3
    with pytest.raises(UserError, match="don't fit on the disk"):
        Store(
            cases,
            classes=3,
            channels=1,
            room=Room(nbytes / 4, tmp_path),
            progress=lambda done, total: told.append(done),
        )
    assert told[-1] < 10
    free = nbytes
    assert Store(cases, classes=3, channels=1, room=Room(nbytes / 4, tmp_path)).on_disk


def test_a_folder_that_may_not_be_written_is_told(make_case, tmp_path, monkeypatch):
    def refused(dir):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))

    monkeypatch.setattr(shelf_module.tempfile, "TemporaryFile", refused)
    with pytest.raises(UserError, match="Permission denied") as error:
        Store(mixed_cases(make_case, (40,)), classes=3, channels=1, room=Room(0, tmp_path))
    assert error.value.problems[0].where == str(tmp_path)
