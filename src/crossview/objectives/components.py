"""The largest component of each class of a label, on the host."""

from __future__ import annotations

import cc3d
import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]


def largest_components(label: Labels, classes: int) -> Labels:
    """Per sample and foreground class, only the largest component of a label (B, X, Y) or (B, X, Y, Z); a new array.

    Voxels that touch by a corner are connected (8 neighbours in 2D, 26 in 3D). Of components of equal size the one
    whose first voxel comes first in C order wins. The rest becomes background. classes counts the background.
    """
    cleaned = np.zeros_like(label)
    for sample, result in zip(label, cleaned, strict=True):
        for index in range(1, classes):
            mask = sample == index
            box = _bounding_box(mask)
            if box is not None:
                result[box] |= _largest(mask[box], index)
    return cleaned


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """The smallest box that holds all of the mask, or None for an empty mask."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        occupied = np.flatnonzero(mask.any(axis=others))
        if occupied.size == 0:
            return None
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return tuple(box)


def _largest(mask: NDArray[np.bool_], index: int) -> Labels:
    """``index`` in the largest component of a mask that is not empty, 0 elsewhere.

    cc3d 4.1.1 gives wrong components for booleans (2D, and some 3D shapes raise) and for arrays that are not
    contiguous; its numbering does not always follow the first voxels. So it gets contiguous integers, and ties are
    broken here.
    """
    voxels = np.ascontiguousarray(mask).view(np.uint8)
    components, count = cc3d.connected_components(voxels, connectivity=8 if mask.ndim == 2 else 26, return_N=True)
    if count == 1:
        return voxels * np.uint8(index)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    largest = np.flatnonzero(sizes == sizes.max())
    if len(largest) > 1:
        flat = components.ravel()
        largest = flat[np.isin(flat, largest).argmax()]
    kept = np.zeros(len(sizes), np.uint8)
    kept[largest] = index
    return kept.take(components)
