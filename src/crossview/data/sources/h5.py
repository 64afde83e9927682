"""h5 files with one image and its label under the keys ``image`` and ``label`` (LA, ACDC)."""

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
"""Voxels. A header that declares more is treated as damaged before memory is allocated."""


def read_image(path: Path, dimensions: int) -> NDArray[np.float32]:
    """Return the image with a channel axis first, float32 (1, *S).

    UserError if it is missing, damaged, or has a wrong key, type or shape.
    """
    with _opened(path) as file:
        data = _dataset(file, path, "image", "fiu", dimensions)
        return np.asarray(data[()], dtype=np.float32)[None]


def read_label(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the label, uint8 (*S).

    UserError as for the image, and if its shape differs from the image's or a value is outside
    0..255.
    """
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
            "the label contains values that are not classes",
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
            f"array '{key}' is missing",
            f"keys: {', '.join(file) or 'none'}",
            "arrays 'image' and 'label'",
        )
    if data.dtype.kind not in kinds:
        expected = "whole numbers" if key == "label" else "numbers"
        raise _unusable(path, f"array '{key}' has an unsupported type", str(data.dtype), expected)
    if data.ndim != dimensions or data.size == 0:
        raise _unusable(
            path,
            f"array '{key}' has an unsupported shape",
            str(data.shape),
            f"{dimensions} non-empty axes",
        )
    if data.size > LARGEST:
        raise _unusable(
            path,
            f"array '{key}' is too large for a scan",
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
        raise _unusable(path, "the file is missing", "no such file", "an h5 file") from error
    except (OSError, RuntimeError) as error:
        raise _unusable(
            path,
            "the file is cut off, damaged or not an h5 file",
            str(error).strip("'\""),
            "a complete file",
        ) from error


def _unusable(path: Path, what: str, found: str, expected: str) -> UserError:
    return UserError(
        Problem(
            what,
            where=str(path),
            found=found,
            expected=expected,
            fix="copy it again from its source",
        )
    )
