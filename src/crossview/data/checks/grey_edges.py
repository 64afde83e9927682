"""Masks with grey edges: values that interpolation or JPEG left between a structure and the rest.

A class fills regions; a value of an edge does not. Here a value belongs to an edge if most of its
voxels differ from both neighbours along an axis. Measured on masks blurred, resized and saved as
JPEG: at most one value in eight, besides the two of the mask, belongs to no edge, and of the voxels
of edges 35 % or more lie between their neighbours. In maps of 17 to 117 classes most values do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST_EDGE_VALUES = 6

LEAST_RANGE = 16
"""Minimum difference of the highest and lowest value: the values of edges lie between the two."""

LEAST_BETWEEN = 0.25
"""Minimum share of an edge's voxels whose value lies between those of two neighbours."""

MOST_PLANES = 32
"""Planes looked at, evenly spaced."""


def has_grey_edges(label: NDArray[np.uint8], counts: dict[int, int]) -> bool:
    """Return True if a label (*S) is a mask with grey edges. counts: its voxels by value."""
    values = [*counts]
    if len(values) < FEWEST_EDGE_VALUES or max(values) - min(values) < LEAST_RANGE:
        return False
    if 2 * sum(sorted(counts.values())[-2:]) < label.size:
        return False  # no two values dominate, as background and structure of a mask do
    planes = label[None] if label.ndim == 2 else label
    every = np.zeros((3, 256), np.int64)
    for plane in planes[:: -(-len(planes) // MOST_PLANES)]:
        every += _counted(plane.astype(np.int16))
    total, thin, between = every
    present = total > 0
    edge = present & (2 * thin >= total)
    solid = int(present.sum() - edge.sum())
    return bool(
        edge.sum() >= FEWEST_EDGE_VALUES
        and solid <= 2 + present.sum() / 8
        and between[edge].sum() >= LEAST_BETWEEN * total[edge].sum()
    )


def _counted(plane: NDArray[np.int16]) -> NDArray[np.int64]:
    """Return by value (3, 256): all pixels, those unlike both neighbours, those between them.

    Neighbours lie along either axis.
    """
    thin, between = np.zeros(plane.shape, bool), np.zeros(plane.shape, bool)
    for axis in range(2):
        rows = np.moveaxis(plane, axis, 0)
        rise, further = rows[1:-1] - rows[:-2], rows[2:] - rows[1:-1]
        np.moveaxis(thin, axis, 0)[1:-1] |= (rise != 0) & (further != 0)
        np.moveaxis(between, axis, 0)[1:-1] |= np.sign(rise) * np.sign(further) > 0
    return np.stack(
        [np.bincount(part, minlength=256) for part in (plane.ravel(), plane[thin], plane[between])]
    )
