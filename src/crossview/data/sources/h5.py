"""One image and its label in an h5 file: the keys ``image`` and ``label`` of the published LA and ACDC files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossview.errors import Problem, UserError

if TYPE_CHECKING:
    import h5py

LARGEST = 2**30
"""Voxels; a header that declares more is taken for damage, before any memory is asked for."""


def read_image(path: Path, dimensions: int) -> NDArray[np.float32]:
    """The image with a channel axis in front, float32 (1, *S). UserError: missing, damaged, wrong key, type or shape."""
    with _opened(path) as file:
        data = _dataset(file, path, "image", "fiu", dimensions)
        return np.asarray(data[()], dtype=np.float32)[None]


def read_label(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The label, uint8 (*S). UserError as for the image, and where its shape differs from the image's or a value isn't in 0..255."""
    with _opened(path) as file:
        data = _dataset(file, path, "label", "iub", dimensions)
        image = _dataset(file, path, "image", "fiu", dimensions)
        if data.shape != image.shape:
            raise _unusable(
                path,
                "image and label differ in shape",
                f"image {image.shape}, label {data.shape}",
                "the same shape",
            )
        label = data[()]
    if label.min() < 0 or label.max() > 255:
        raise _unusable(
            path,
            "label values are no class numbers",
            f"{label.min()} to {label.max()}",
            "whole numbers from 0 to 255",
        )
    return np.asarray(label, dtype=np.uint8)


def _dataset(file: h5py.File, path: Path, key: str, kinds: str, dimensions: int) -> h5py.Dataset:
    import h5py

    data: Any = file.get(key)
    if not isinstance(data, h5py.Dataset):
        raise _unusable(
            path,
            f"no array called '{key}'",
            f"keys: {', '.join(file) or 'none'}",
            "arrays 'image' and 'label'",
        )
    if data.dtype.kind not in kinds:
        expected = "whole numbers" if key == "label" else "numbers"
        raise _unusable(path, f"'{key}' has an unusable type", str(data.dtype), expected)
    if data.ndim != dimensions or data.size == 0:
        raise _unusable(
            path,
            f"'{key}' has an unusable shape",
            str(data.shape),
            f"{dimensions} axes, none of them empty",
        )
    if data.size > LARGEST:
        raise _unusable(
            path,
            f"'{key}' is declared larger than any scan",
            str(data.shape),
            f"at most {LARGEST:,} voxels",
        )
    return data


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError as error:
        raise _unusable(path, "the file is missing", "nothing there", "an h5 file") from error
    except (OSError, RuntimeError) as error:
        raise _unusable(
            path,
            "the file can't be read: cut off, damaged or no h5 file",
            str(error).strip("'\""),
            "a whole h5 file",
        ) from error


def _unusable(path: Path, what: str, found: str, expected: str) -> UserError:
    return UserError(
        Problem(
            what,
            where=str(path),
            found=found,
            expected=expected,
            fix="restore this file from its source",
        )
    )
