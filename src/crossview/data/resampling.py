"""Resampling of images and labels to another grid.

Grids are aligned by the AREAS of their voxels: the ends of both arrays coincide, not the centres of
their corner voxels. So resampling shifts nothing. Interpolation is linear along each axis. If
voxels get larger the kernel is widened to their size, which prevents aliasing. An axis whose number
of voxels does not change is left untouched.

Labels are resampled class by class and the largest share wins, so no class appears between two
others. Measured on 20 hippocampus labels resampled and back, nearest neighbour against this method:
Dice 0.925 and 0.948 (voxels 1.25 times as large), 0.840 and 0.890 (twice as large), 1.000 and 0.993
(0.7 times).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from crossview.core.partial import IGNORED

Label = NDArray[np.uint8]


def resampled(maps: Tensor, shape: Sequence[int]) -> Tensor:
    """Resample maps (..., *S') to (..., *S) by linear interpolation along each axis.

    Runs on the device of ``maps`` and returns ``maps`` itself if the shape stays the same. Each
    axis is resampled in turn as part of a 2D image: there torch widens the kernel against aliasing,
    which it cannot do for volumes.
    """
    for axis, side in zip(range(-len(shape), 0), shape, strict=True):
        there = maps.shape[axis]
        if side == there:
            continue
        after = math.prod(maps.shape[maps.ndim + axis + 1 :])
        if after > 1:
            image, size = maps.reshape(1, -1, there, after), (side, after)
        else:  # torch 2.13 resamples an image of width 1 wrongly, so the last axis is the width
            rows = maps.shape[axis - 1] if maps.ndim > -axis else 1
            image, size = maps.reshape(1, -1, rows, there), (rows, side)
        whole = (*maps.shape[: maps.ndim + axis], side, *maps.shape[maps.ndim + axis + 1 :])
        maps = F.interpolate(
            image, size=size, mode="bilinear", align_corners=False, antialias=True
        ).reshape(whole)
    return maps


def resampled_label(label: Label, shape: Sequence[int]) -> Label:
    """Resample classes (*S') to uint8 (*S): the class with the largest share of a new voxel wins.

    A new voxel is ``IGNORED`` if all stored voxels with their centre in it are, or, if it holds no
    centre, the nearest one. So a single labelled slice stays one, finer or coarser. Returns
    ``label`` itself if the shape stays the same.
    """
    if tuple(shape) == label.shape:
        return label
    best = torch.full(tuple(shape), -1.0)
    result = np.zeros(shape, np.uint8)
    values = np.unique(label)
    for value in values[values != IGNORED]:
        share = resampled(torch.from_numpy((label == value).astype(np.float32)), shape)
        result[(share > best).numpy()] = value
        torch.maximum(best, share, out=best)
    if IGNORED in values:
        result[~_any_within(label != IGNORED, shape)] = IGNORED
    return result


def _any_within(mask: NDArray[np.bool_], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Return the voxels of a grid of ``shape`` that hold a voxel of a mask (*S'), by its centre.

    A voxel that holds no centre takes the nearest voxel's value.
    """
    for axis, side in enumerate(shape):
        there, new = mask.shape[axis], np.arange(side)
        if side >= there:
            mask = mask.take((2 * new + 1) * there // (2 * side), axis)
        else:  # old voxel j lies in new voxel i if i there <= (j + 1/2) side < (i + 1) there
            first = -((side - 2 * new * there) // (2 * side))
            mask = np.logical_or.reduceat(mask, first, axis)
    return mask
