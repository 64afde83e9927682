"""Files with a few changed bytes: read, or refused with a reason; never another error."""

import gzip
import random
import time

import h5py
import nibabel as nib
import numpy as np
import pytest
from tests.helpers.made_folder import scan, write_nifti
from tests.helpers.nifti import read_label

from crossview.core.errors import UserError
from crossview.data.io import NIFTI, h5

IMAGE, LABEL = scan(1)

MUTATIONS = 150
"""Per kind of file. 41,000 were tried once: all read or refused, none in more than a second."""


def mutated(content: bytes, end: int, generator: random.Random) -> bytes:
    """Return the bytes with one to eight changes before ``end``: bits, values, cuts, additions."""
    changed = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 8))):
        at, kind = generator.randrange(min(end, len(changed))), generator.random()
        if kind < 0.5:
            changed[at] ^= 1 << generator.randrange(8)
        elif kind < 0.9:
            width = generator.choice((1, 2, 4, 8))
            changed[at : at + width] = bytes([generator.choice((0, 1, 127, 128, 255))]) * width
        elif kind < 0.95:
            del changed[at : at + generator.randrange(1, 9)]
        else:
            changed[at:at] = generator.randbytes(generator.randrange(1, 9))
    return bytes(changed)


def h5_file(path, version, **storage):
    with h5py.File(path, "w", libver=version) as file:
        file.create_dataset("image", data=IMAGE.astype(np.float32), **storage)
        file.create_dataset("label", data=LABEL, **storage)
    return path.read_bytes()


def attempt(*reads):
    """Return True if all reads succeed; UserError is the only error there may be."""
    started = time.monotonic()
    try:
        for read in reads:
            read()
    except UserError as error:
        return not error.problems
    finally:
        assert time.monotonic() - started < 5
    return True


@pytest.mark.parametrize("version", ["earliest", "latest"])
@pytest.mark.parametrize(
    "storage", [{}, {"compression": "gzip", "shuffle": True, "fletcher32": True}]
)
def test_changed_h5_files_are_read_or_refused(tmp_path, version, storage):
    path, generator = tmp_path / "a.h5", random.Random(0)
    whole = h5_file(path, version, **storage)
    read = 0
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(whole, len(whole), generator))
        read += attempt(lambda: h5.read([path], 1), lambda: h5.read_label(path, 2, 3))
    assert 0 < read < MUTATIONS


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (2, 1), (0, 0)])
def test_changed_nifti_headers_are_read_or_refused(tmp_path, kind, codes):
    good, generator = write_nifti(tmp_path / "good.nii", IMAGE), random.Random(0)
    image = kind(IMAGE, None)
    image.set_sform(np.diag([1.0, 1.5, 2, 1]), codes[0])
    image.set_qform(np.diag([1.0, 1.5, 2, 1]), codes[1])
    nib.save(image, tmp_path / "a.nii")
    whole, read = (tmp_path / "a.nii").read_bytes(), 0
    for number in range(MUTATIONS):
        path = tmp_path / ("b.nii.gz" if number % 3 == 0 else "b.nii")
        changed = mutated(whole, 560, generator)
        path.write_bytes(gzip.compress(changed, 1) if number % 3 == 0 else changed)
        read += attempt(lambda path=path: NIFTI.read([path], 1))
        attempt(lambda path=path: read_label(path, good))
        attempt(lambda path=path: read_label(good, path))
    assert 0 < read < MUTATIONS
