"""The classes in a label file: whole numbers from 0 to 255."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import fail

ROUNDING = 1e-4
"""Largest accepted distance from a whole number where values are stored as they are.

Interpolation leaves larger ones.
"""

COARSEST = 0.5
"""Step of stored values from which on a whole number can't be told from a fraction."""

NOT_CLASSES = "the label contains values that are not classes"

SHOWN = 8


def class_values(values: NDArray[Any], path: Path, step: float = 0) -> NDArray[np.uint8]:
    """Return the classes as uint8. UserError, listing values, for fractions or outside 0..255.

    step: of the stored numbers, where a header scales them. A class is then stored as the nearest
    multiple, up to half a step away.
    """
    with np.errstate(invalid="ignore"):
        classes = values.astype(np.uint8)
    if (classes == values).all():  # the usual case, and fast
        return classes
    if values.dtype.kind == "f":
        rounded = np.rint(values)
        accepted = ROUNDING + (step / 2 if step < COARSEST else 0)
        off = ~(np.abs(values - rounded) <= accepted)  # NaN too
        if off.any():
            fail(
                NOT_CLASSES,
                path,
                found=f"{np.count_nonzero(off):,} voxels with fractions: {_listed(values[off])}",
                expected="whole numbers",
                fix="resample the label with nearest neighbour and export it again, or use the "
                "label that belongs to this scan",
            )
        values = rounded
    if values.size and (values.min() < 0 or values.max() > 255):
        fail(
            NOT_CLASSES,
            path,
            found=f"values {_listed(values)}",
            expected="whole numbers from 0 to 255",
            fix="number the classes 0 (background), 1, 2, ...",
        )
    return values.astype(np.uint8)


def _listed(values: NDArray[Any]) -> str:
    """Return the distinct values in order; of many, the first three and the last."""
    distinct = [f"{value:.7g}" for value in np.unique(values)]
    if len(distinct) <= SHOWN:
        return ", ".join(distinct)
    return f"{', '.join(distinct[:3])} ... {distinct[-1]} ({len(distinct):,} different values)"
