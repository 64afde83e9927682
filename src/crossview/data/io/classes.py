"""The classes in a label file: whole numbers from 0 to 255."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def values_by_name(
    names: Sequence[str], numbers: NDArray[np.uint8], by_name: Mapping[str, int], path: Path
) -> NDArray[np.uint8]:
    """Return the values of the classes in a label that stores names.

    Args:
        names: The names in the label.
        numbers: Of each voxel, the number of its name, from 1; 0 is background.
        by_name: The value of each class of the data set.
        path: The label's file.

    Raises:
        UserError: If a name is no class.
    """
    unknown = [name for name in names if name not in by_name]
    if unknown:
        known = [name for name, value in by_name.items() if value]
        fail(
            "the label contains names that are no classes",
            path,
            found=", ".join(unknown),
            expected=", ".join(known) or "names of classes in dataset.json",
            fix="rename the segments, or name the classes in dataset.json: "
            '"labels": {"background": 0, "liver": 1}',
        )
    table = np.zeros(256, np.uint8)
    table[1 : len(names) + 1] = [by_name[name] for name in names]
    return table[numbers]


def _listed(values: NDArray[Any]) -> str:
    """Return the distinct values in order; of many, the first three and the last."""
    distinct = [f"{value:.7g}" for value in np.unique(values)]
    if len(distinct) <= SHOWN:
        return ", ".join(distinct)
    return f"{', '.join(distinct[:3])} ... {distinct[-1]} ({len(distinct):,} different values)"
