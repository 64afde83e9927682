"""Constant padding of scans: the border that carries no information about intensities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

Box = tuple[slice, ...]
"""A part of an array, one slice per axis; () for all of it."""


def unpadded(image: NDArray[Any]) -> Box:
    """Return the box of an image (C, *S) that remains without its constant border.

    An outermost plane (a row or column of a 2D image) in which each channel has a single value is
    removed, again and again, until no side has one. So the result is the same however often, on
    whichever sides and with whichever values a scan was padded. A plane of one voxel stays, and so
    does an image that would lose everything.
    """
    ends = [[0, side] for side in image.shape[1:]]
    while any(_trimmed(image, ends, axis) for axis in range(len(ends))):
        pass
    box = tuple(slice(*end) for end in ends)
    if _constant(image[:, *box]):
        return tuple(slice(0, side) for side in image.shape[1:])
    return box


def sides(box: Box, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of the part ``box`` of an array of ``shape``."""
    return tuple(part.stop - part.start for part in box) or tuple(shape)


def _trimmed(image: NDArray[Any], ends: list[list[int]], axis: int) -> bool:
    """Move both ends of an axis inwards past constant planes. Return True if one moved."""
    before = list(ends[axis])
    for end, step in ((0, 1), (1, -1)):
        while ends[axis][1] - ends[axis][0] > 1:
            plane: list[Any] = [slice(*each) for each in ends]
            plane[axis] = ends[axis][end] - end
            border = image[:, *plane]
            if border[0].size == 1 or not _constant(border):
                break
            ends[axis][end] += step
    return ends[axis] != before


def _constant(image: NDArray[Any]) -> bool:
    """True if each channel of an image (C, ...) has a single value."""
    return all(bool((channel == channel.flat[0]).all()) for channel in image)
