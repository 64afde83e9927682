"""What a label file's numbers are taken for: whole numbers from 0 to 255, each a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.errors import Problem, UserError

ROUNDING = 1e-4
"""How far a value may lie from a whole number: what a scale factor in a header leaves. Interpolation leaves more."""
SHOWN = 8


def class_values(values: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    """The classes as uint8. Raises UserError, listing values, for fractions and for values that are not in 0..255."""
    with np.errstate(invalid="ignore"):
        classes = values.astype(np.uint8)
    if (classes == values).all():  # the usual case, quickly
        return classes
    if values.dtype.kind == "f":
        rounded = np.rint(values)
        off = ~(np.abs(values - rounded) <= ROUNDING)  # NaN too
        if off.any():
            fix = "round them (a label must be resampled by nearest neighbour), or take the label that belongs here"
            found = f"{np.count_nonzero(off):,} voxels with fractions: {listed(values[off])}"
            raise UserError(
                Problem(
                    "the label holds values that are no classes",
                    str(path),
                    found,
                    "whole numbers",
                    fix,
                )
            )
        values = rounded
    if values.size and (values.min() < 0 or values.max() > 255):
        found, fix = f"values {listed(values)}", "number the classes 0 (background), 1, 2, ..."
        raise UserError(
            Problem(
                "the label holds values that are no classes",
                str(path),
                found,
                "whole numbers from 0 to 255",
                fix,
            )
        )
    return values.astype(np.uint8)


def listed(values: NDArray[Any]) -> str:
    """The distinct values, in order; the first three and the last of many."""
    distinct = [f"{value:.7g}" for value in np.unique(values)]
    if len(distinct) <= SHOWN:
        return ", ".join(distinct)
    return f"{', '.join(distinct[:3])} ... {distinct[-1]} ({len(distinct):,} different ones)"
