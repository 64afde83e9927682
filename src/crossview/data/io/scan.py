"""A scan in memory as its file stores it, and the checks that all formats share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import fail
from crossview.data.io.geometry import Header

LARGEST = 2**30
"""Voxels. A header that declares more is treated as damaged before memory is allocated."""

COPY_AGAIN = "copy it again from its source"
"""Fix for a damaged file."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan as stored: the image, float32 (C, *S), and its header."""

    image: NDArray[np.float32]
    header: Header


def count_not_finite(image: NDArray[Any]) -> int:
    """Return the number of NaN and infinite values."""
    # The sum is finite unless a value is not (or the sum overflows): one pass, and no array of
    # booleans for a clean image.
    with np.errstate(invalid="ignore"):
        total = image.sum(dtype=np.float64)
    return 0 if np.isfinite(total) else int(image.size - np.isfinite(image).sum())


def check_finite(image: NDArray[np.float32], where: object, noun: str = "scan") -> None:
    """Raise UserError at a file or case if an image contains NaN or infinity."""
    if bad := count_not_finite(image):
        fail(
            f"the {noun} contains values that are not numbers",
            where,
            found=f"{bad} NaN or infinite voxels",
            expected="finite values",
            fix=f"repair the {noun}, for example by setting these voxels to the background value",
        )


def first_line(error: Exception) -> str:
    """Return the type and the first line of a library's error."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
