"""Prepared volumes in nameless files: exact, freed with their store, a full disk is reported."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crossview.core.errors import UserError
from crossview.data import mapped
from crossview.data.mapped import MappedFile
from crossview.data.store import Store

MIXES = {
    "uint8": (40, 40, 40),
    "int16 after uint8": (40, 40, 4000),
    "float16 among uint8": (40, None, 40),
    "float16 from the first on": (None, 40, 4000),
    "float32 after float16": (None, 40, -1),
    "float32 before float16": (-1, None, 40),
}
"""Distinct values of the images. None: too many for a table. -1: two, one beyond float16."""


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
def test_every_mix_of_images_is_read_back(make_case, tmp_path, mix, labelled, slices):
    cases = mixed_cases(make_case, MIXES[mix], labelled=labelled, channels=2)
    store = Store(cases, classes=3, channels=2, slices=slices, folder=tmp_path)
    images, labels = [], []
    for case, level in zip(cases, MIXES[mix], strict=True):
        items = np.moveaxis(case.read_image(), 1, 0) if slices else [case.read_image()]
        images += [(image, level is not None) for image in items]
        if labelled:
            labels += list(case.read_label()) if slices else [case.read_label()]
    assert len(store) == len(images)
    for position, (image, few) in enumerate(images):
        assert store.shapes[position] == image.shape[1:]
        read = store.decode(store.stored(position), position).numpy()
        exact = few and store.voxels.dtype != torch.float16
        rounding = {"rtol": 0} if exact else {"rtol": 2**-11, "atol": 1e-7}
        np.testing.assert_allclose(read, image, **rounding)
    for position, label in enumerate(labels):
        assert np.array_equal(store.label(position).numpy(), label)
    assert (store.labels is None) == (not labelled)
    assert list(tmp_path.iterdir()) == []


def test_float32_is_not_rounded_on_its_way(make_case):
    """A table that is kept exactly while other images come in as float16 is exact at the end."""
    cases = mixed_cases(make_case, (40, None, -1))
    store = Store(cases, classes=3, channels=1)
    assert store.voxels.dtype == torch.float32
    assert np.array_equal(store.stored(0).numpy(), cases[0].read_image())


def mapped_files():
    return [
        line
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith("(deleted)")
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc lists the mapped files")
def test_the_file_goes_with_its_store(make_case, tmp_path):
    before = len(mapped_files())
    store = Store(mixed_cases(make_case, (40, 40)), classes=3, channels=1, folder=tmp_path)
    assert len(mapped_files()) == before + 3
    assert all(line.split()[1].startswith("r--") for line in mapped_files()[-3:])
    del store
    assert len(mapped_files()) == before


def test_without_a_folder_the_file_is_in_the_temporary_folder(make_case, tmp_path, monkeypatch):
    folders, make = [], mapped.tempfile.TemporaryFile

    def noted(dir):
        folders.append(dir)
        return make(dir=dir)

    monkeypatch.setattr(mapped.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(mapped.tempfile, "TemporaryFile", noted)
    Store(mixed_cases(make_case, (40,)), classes=3, channels=1)
    assert set(folders) == {tmp_path}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_reported_with_the_sizes(make_case, tmp_path, monkeypatch, number):
    def full(self, array, add=MappedFile.add):
        if self.nbytes > 4000:
            raise OSError(number, os.strerror(number))
        add(self, array)

    monkeypatch.setattr(MappedFile, "add", full)
    with pytest.raises(UserError, match="do not fit on the disk") as error:
        Store(mixed_cases(make_case, (40,) * 6), classes=3, channels=1, folder=tmp_path)
    problem = error.value.problems[0]
    assert problem.where == str(tmp_path)
    assert "GB free" in problem.found
    assert "for 6 volumes" in problem.expected
    assert "--out on another disk" in problem.fix


def test_volumes_that_surely_do_not_fit_are_refused_early(make_case, tmp_path, monkeypatch):
    cases = mixed_cases(make_case, (40,) * 20)
    nbytes = Store(cases, classes=3, channels=1).nbytes
    monkeypatch.setattr(mapped.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    done = []
    free = nbytes // 3
    with pytest.raises(UserError, match="do not fit on the disk"):
        Store(cases, classes=3, channels=1, progress=lambda now, total: done.append(now))
    assert len(done) < 5
    free = nbytes
    assert len(Store(cases, classes=3, channels=1)) == 20


def test_a_folder_that_may_not_be_written_is_named(make_case, tmp_path, monkeypatch):
    def refused(dir):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))

    monkeypatch.setattr(mapped.tempfile, "TemporaryFile", refused)
    with pytest.raises(UserError, match="Permission denied") as error:
        Store(mixed_cases(make_case, (40,)), classes=3, channels=1, folder=tmp_path)
    assert error.value.problems[0].where == str(tmp_path)


MEASURE = """
import json, resource, sys
from pathlib import Path
import numpy as np
from crossview.data.case import Case
from crossview.data.store import Store

SHAPE = (100, 100, 100)

def image(number):
    values = np.random.default_rng(number).integers(0, 200, (1, *SHAPE), np.uint8)
    return values.astype(np.float32)

def case(n):
    label = lambda: np.zeros(SHAPE, np.uint8)
    return Case(f"{n}", f"{n}", Path(f"{n}"), lambda: image(n), label)

def now():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def stored(count):
    cases = [case(n) for n in range(count)]
    return Store(cases, classes=2, channels=1, workers=2, folder=Path(sys.argv[1]))

before = now()
stored(8)
reading = peak() - before
store = stored(300)
print(json.dumps({"reading": reading, "grown": peak() - before, "nbytes": store.nbytes}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts the peak of a process in kB")
def test_preparing_takes_the_memory_of_a_few_volumes(tmp_path):
    """300 volumes of 2 MB take hardly more memory than 8 of them."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, check=True, text=True
    )
    found = json.loads(done.stdout)
    assert found["nbytes"] == pytest.approx(600e6, rel=0.01)
    assert found["grown"] < 1.3 * found["reading"]
