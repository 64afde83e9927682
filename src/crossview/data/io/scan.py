"""A scan in memory as its file stores it, and the checks that all formats share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import UserError, fail
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
            found=f"{bad} NaN or infinite values",
            expected="finite values",
            fix=f"repair the {noun}, for example by setting these voxels to the background value",
        )


def first_line(error: Exception) -> str:
    """Return the type and the first line of a library's error."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


@contextmanager
def damage_named(
    path: Path, kind: str, explain: Callable[[Path, str], None] = lambda path, found: None
) -> Iterator[None]:
    """Turn any error of reading a file into a UserError that names the file.

    numpy's warnings of numbers that a damaged header holds would be in the way of it.

    Args:
        path: The file.
        kind: What the file should be, such as "a NIfTI file".
        explain: Called with the file and the error's first line; may raise a UserError that says
            more.
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # libraries raise a dozen types of error for damaged files
        if isinstance(error, FileNotFoundError) and not path.exists():
            fail(
                "the file is missing",
                path,
                found="no such file",
                expected=kind,
                fix="check the path",
            )
        found = first_line(error)
        explain(path, found)
        fail(
            f"the file is cut off, damaged or not {kind}",
            path,
            found=found,
            expected="a complete file",
            fix=COPY_AGAIN,
        )
