"""Largest component of each class of a label, on the CPU."""

from __future__ import annotations

from typing import Literal

import cc3d
import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]

SAMPLED = 101
"""Distance of the voxels that are looked at to find a component with most of the voxels."""


def largest_components(label: Labels, classes: int) -> Labels:
    """Keep the largest component of each foreground class of each sample; the rest is background.

    Voxels that share a corner are connected (8 neighbours in 2D, 26 in 3D). Of components of equal
    size, the one whose first voxel comes first in C order is kept.

    Args:
        label: uint8 (B, X, Y) or (B, X, Y, Z).
        classes: Number of classes, background included.

    Returns:
        A new array of the same shape.
    """
    cleaned = np.zeros_like(label)
    for sample, result in zip(label, cleaned, strict=True):
        for index in range(1, classes):
            mask = sample == index
            box = bounding_box(mask)
            if box is not None:
                result[box] |= _largest(mask[box], index)
    return cleaned


def connectivity(axes: int) -> Literal[8, 26]:
    """Return the number of a voxel's neighbours, those at its corners too."""
    return 8 if axes == 2 else 26


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """Return the smallest box that contains the mask, or None for an empty mask."""
    box, seen = [], mask
    for _ in range(mask.ndim):
        occupied = np.flatnonzero(seen.any(axis=tuple(range(1, seen.ndim))))
        if occupied.size == 0:
            return None
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
        # Reducing the first axis is fast and leaves one axis fewer.
        seen = np.logical_or.reduce(seen, axis=0)
    return tuple(box)


def _largest(mask: NDArray[np.bool_], index: int) -> Labels:
    """Return ``index`` in the largest component of a mask that is not empty, 0 elsewhere.

    cc3d 4.1.1 returns wrong components for booleans (2D; some 3D shapes raise) and for arrays
    that are not contiguous. With ``binary_image`` it fails on thin arrays ([1, 0, 1]). Its numbers
    do not always follow the order of first voxels. So it gets contiguous integers and no hint, and
    ties are broken here.
    """
    voxels = np.ascontiguousarray(mask).view(np.uint8)
    components, count = cc3d.connected_components(
        voxels, connectivity=connectivity(mask.ndim), return_N=True
    )
    if count == 1:
        return voxels * np.uint8(index)
    kept = _majority(components, int(np.count_nonzero(voxels)))
    if kept is None:
        numbers = components[voxels.view(np.bool_)]
        sizes = np.bincount(numbers)
        largest = np.flatnonzero(sizes == sizes.max())
        first = np.isin(numbers, largest).argmax() if len(largest) > 1 else sizes[numbers].argmax()
        kept = components == numbers[first]
    return kept.view(np.uint8) * np.uint8(index)


def _majority(components: NDArray[np.integer], voxels: int) -> NDArray[np.bool_] | None:
    """Return the component with more than half of all voxels, or None if it is not found.

    Such a component leads in a sample too, and counting it alone takes a fifth of the time of
    counting all.
    """
    sample = components.ravel()[::SAMPLED]
    leading = np.bincount(sample[sample > 0], minlength=2).argmax()
    kept: NDArray[np.bool_] = components == leading
    return kept if leading and 2 * np.count_nonzero(kept) > voxels else None
