"""The training grid of a user's scans: the slice axis, and the voxel spacing all are resampled to.

The rules are nnU-Net's (Isensee et al., Nature Methods 2021): the median spacing, but slices much
thicker than pixels, or few, are segmented one by one and stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

THICK = 3.0
"""Minimum ratio of slice thickness to pixel size to segment slices one by one."""

FEWEST_SLICES = 16

CLEARLY = 1.2
"""Minimum ratio of an axis' spacing to the next largest that makes it the slice axis."""


SEVERAL = 8
"""Voxels of an axis. A scan of which two such axes become one voxel has another unit."""


def median(rows: Sequence[Sequence[float]]) -> list[float]:
    """Return the median of each column."""
    return [float(value) for value in np.median(np.array(rows, dtype=np.float64), axis=0)]


def slice_axis(shape: Sequence[float], spacing: Sequence[float]) -> int:
    """Return the axis of the thickest voxels, else of few voxels, else foot to head.

    shape, spacing: of the median volume, in canonical order; the spacing may be ().
    """
    if spacing:
        *_, second, thickest = sorted(spacing)
        if thickest > CLEARLY * second:
            return list(spacing).index(thickest)
    fewest = min(shape)
    return list(shape).index(fewest) if fewest < FEWEST_SLICES else 2


def slices_alone(shape: Sequence[float], spacing: Sequence[float]) -> bool:
    """Return True if slices of the median volume are too thick or too few for volumes."""
    axis = slice_axis(shape, spacing)
    sides = list(spacing) or [1.0] * len(shape)
    thick = sides.pop(axis)
    return thick >= THICK * max(sides) or round(shape[axis]) < FEWEST_SLICES


def usual_grid(
    shapes: Sequence[Sequence[int]], spacings: Sequence[Sequence[float]]
) -> tuple[float, ...]:
    """Return the spacing to which a plan resamples scans; 0 for an axis that stays as it is.

    () if scans are not resampled.
    """
    if not spacings:
        return ()
    shape, spacing = median(shapes), median(spacings)
    target = [float(f"{side:.4g}") for side in spacing]
    if len(shape) == 3 and slices_alone(shape, spacing):
        target[slice_axis(shape, spacing)] = 0.0
    return tuple(target)


def resampled_side(side: int, spacing: float, target: float) -> int:
    """Return the voxels along an axis once it is resampled; a target of 0 keeps it."""
    return max(1, round(side * spacing / (target or spacing)))


def collapses(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> bool:
    """Return True if two axes or more of several voxels become a single one."""
    sides = map(resampled_side, shape, spacing, target)
    return sum(n >= SEVERAL and side == 1 for n, side in zip(shape, sides, strict=True)) > 1
