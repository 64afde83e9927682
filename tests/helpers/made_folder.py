"""Small folders of scans as a practitioner would make them, with or without faults."""

from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

SHAPE = (7, 6, 5)
AFFINE = np.diag([1.0, 1.5, 2.0, 1.0])


def write_nifti(path: Path, array, affine=AFFINE, **header) -> Path:
    """A NIfTI file; ``header`` sets fields of it (scl_slope, dim ...)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.asarray(array), affine)
    for field, value in header.items():
        image.header[field] = value
    nib.save(image, path)
    return path


def write_picture(path: Path, array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array)).save(path)
    return path


def scan(number: int, shape=SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Image int16 and label uint8 of classes 0, 1, 2, different for each number."""
    random = np.random.default_rng(number)
    label = np.zeros(shape, np.uint8)
    label[1:4, 1:4, 1:3] = 1
    label[4:6, 2 : 3 + number % 3, 2:] = 2
    label[0, 0, number % shape[2]] = 1
    label[0, 1, number // shape[2] % shape[2]] = 1
    return (random.normal(100, 20, shape) + 40 * label).astype(np.int16), label


def make_folder(
    root: Path,
    labelled=3,
    unlabelled=2,
    images="images",
    labels="labels",
    suffix=".nii.gz",
    channel="",
) -> Path:
    """Write ``labelled`` + ``unlabelled`` scans case00, case01, ...; the first have labels.

    Returns ``root``.
    """
    for number in range(labelled + unlabelled):
        image, label = scan(number)
        write_nifti(root / images / f"case{number:02d}{channel}{suffix}", image)
        if number < labelled:
            write_nifti(root / labels / f"case{number:02d}{suffix}", label)
    return root


def problems_of(error) -> str:
    """Every problem of a UserError that pytest caught, as one text."""
    return "\n".join(str(problem) for problem in error.value.problems)
