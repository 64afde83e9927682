"""Preprocessing of scans: normalised intensities and one voxel spacing, and the way back.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from crossview.core.errors import Problem, UserError
from crossview.core.partial import IGNORED
from crossview.data.case import Case
from crossview.data.io.scan import LARGEST
from crossview.data.padding import Box, unpadded
from crossview.data.sources.source import DataOptions, Normalisation

Image = NDArray[np.float32]


Label = NDArray[np.uint8]


Shape = tuple[int, ...]


Spacing = Sequence[float] | None
"""Voxel spacing in mm, one number per axis; None if a file has none."""


CLIPPED = (0.5, 99.5)
"""Percentiles to which "z_score_clipped" and "z_score_unpadded" clip a scan."""


SEVERAL = 8
"""Voxels of an axis. A scan with two such axes that shrink to one voxel is in another unit."""


@dataclass(frozen=True)
class Preprocessing:
    """The keys ``normalisation``, ``intensities`` and ``spacing`` of [data], for raw scans.

    The methods raise UserError at ``where`` for a scan that cannot be preprocessed: its voxel
    spacing is missing or impossible, or its number of axes or channels differs from the recipe's.
    """

    normalisation: Normalisation = "none"
    intensities: tuple[tuple[float, float, float, float], ...] = ()
    spacing: tuple[float, ...] = ()

    @classmethod
    def of(cls, options: DataOptions) -> Preprocessing:
        """Return the preprocessing of a recipe's [data] table."""
        return cls(options.normalisation, options.intensities, options.spacing)

    def shape(self, shape: Sequence[int], spacing: Spacing, where: str = "") -> tuple[int, ...]:
        """Return the shape *S' on the model's grid of an array *S with voxels of ``spacing`` mm.

        ``shape`` itself if nothing is resampled.
        """
        if not any(self.spacing):
            return tuple(shape)
        if (
            spacing is None
            or len(spacing) != len(shape)
            or not all(0 < side < math.inf for side in spacing)
        ):
            found = "none" if spacing is None else " x ".join(f"{side:g}" for side in spacing)
            fix = "use a format that stores the spacing (NIfTI), or repair the header"
            raise UserError(
                Problem(
                    "the model needs the scan's voxel spacing",
                    where,
                    found,
                    "a positive number of mm per axis",
                    fix,
                )
            )
        if len(self.spacing) != len(shape):
            found = f"{len(shape)} axes"
            raise UserError(
                Problem(
                    "the scan and the model's spacing differ in their number of axes",
                    where,
                    found,
                    str(len(self.spacing)),
                )
            )
        sides = [
            round(n * side / (target or side))
            for n, side, target in zip(shape, spacing, self.spacing, strict=True)
        ]
        if math.prod(sides) > LARGEST:
            found = (
                f"a spacing of {' x '.join(f'{side:g}' for side in spacing)} mm, "
                f"hence {' x '.join(map(str, sides))} voxels once resampled"
            )
            fix = (
                "check the voxel spacing in the scan's header, or train with a larger data.spacing"
            )
            raise UserError(
                Problem(
                    "the resampled scan would be too large",
                    where,
                    found,
                    f"at most {LARGEST:,} voxels",
                    fix,
                )
            )
        if collapses(shape, sides):
            found = (
                f"a spacing of {' x '.join(f'{side:g}' for side in spacing)} mm, hence "
                f"{' x '.join(str(max(1, side)) for side in sides)} voxels once resampled"
            )
            fix = "check the voxel spacing and its unit in the scan's header"
            expected = "more than one voxel along at least two axes"
            raise UserError(
                Problem("the resampled scan would be too small", where, found, expected, fix)
            )
        return tuple(max(1, side) for side in sides)

    def box(self, image: Image) -> Box:
        """Return the part of a stored image (C, *S) that the network sees; () for all of it."""
        return unpadded(image) if self.normalisation == "z_score_unpadded" else ()

    def image(self, image: Image, spacing: Spacing, where: str = "") -> Image:
        """Return a stored image (C, *S), its :meth:`box`, as the network sees it: (C, *S')."""
        if self.intensities and len(self.intensities) != len(image):
            found = f"{len(image)} channels"
            raise UserError(
                Problem(
                    "the scan and the model differ in their number of channels",
                    where,
                    found,
                    str(len(self.intensities)),
                )
            )
        part = image[:, *self.box(image)]
        if part.size < image.size:  # laid out as an unpadded scan: the same sums to the last bit
            image = part.copy(order="K")
        shape = self.shape(image.shape[1:], spacing, where)
        if self.normalisation == "none" and shape == image.shape[1:]:
            return image
        channels = [self._normalised(channel, index) for index, channel in enumerate(image)]
        if shape == image.shape[1:]:
            return np.stack(channels)
        return np.stack(
            [
                resampled(torch.from_numpy(np.ascontiguousarray(channel)), shape).numpy()
                for channel in channels
            ]
        )

    def label(self, label: Label, spacing: Spacing, where: str = "") -> Label:
        """Return classes (*S) on the model's grid, uint8 (*S'); see :func:`resampled_label`."""
        return resampled_label(label, self.shape(label.shape, spacing, where))

    def case(self, case: Case) -> Case:
        """Return the case as a network is trained on it, still read on demand.

        With "z_score_unpadded" that is the scan without its constant border.
        """
        where, read_label = case.where, case.read_label
        spacing = case.spacing
        if spacing is not None and len(spacing) == len(self.spacing):
            spacing = tuple(
                target or side for target, side in zip(self.spacing, spacing, strict=True)
            )
        seen: dict[Shape, Box] = {}

        def image() -> Image:
            stored = case.read_image()
            seen[stored.shape[1:]] = self.box(stored)
            return self.image(stored, case.spacing, where)

        def label(read: Callable[[], Label]) -> Label:
            stored = read()
            if not seen and self.normalisation == "z_score_unpadded":
                image()
            # A label of another shape than its image stays whole, and is reported as such.
            return self.label(stored[seen.get(stored.shape, ())], case.spacing, where)

        return replace(
            case,
            read_image=image,
            read_label=None if read_label is None else lambda: label(read_label),
            spacing=spacing,
        )

    def _normalised(self, channel: Image, index: int) -> Image:
        if self.normalisation == "foreground":
            low, high, mean, deviation = self.intensities[index]
            return (channel.clip(low, high) - np.float32(mean)) / np.float32(deviation)
        return normalised(channel, self.normalisation)


def collapses(shape: Sequence[int], sides: Sequence[float]) -> bool:
    """True if at least two axes of several voxels in ``shape`` have at most one in ``sides``."""
    return sum(n >= SEVERAL and side <= 1 for n, side in zip(shape, sides, strict=True)) > 1


AS_STORED = Preprocessing()
"""Preprocessing of cases that a network sees as they are."""


def normalised(channel: Image, normalisation: Normalisation) -> Image:
    """Return one channel (*S) scaled by its own values.

    "z_score" scales to mean 0 and standard deviation 1, "min_max" to 0..1. "z_score_clipped" and
    "z_score_unpadded" clip to the 0.5th and 99.5th percentile first, unless these are equal: in a
    scan that is black but for a few voxels, clipping would remove all there is. A channel with a
    single value becomes 0 everywhere.
    """
    if normalisation == "none":
        return channel
    if normalisation in ("z_score_clipped", "z_score_unpadded"):
        low, high = (np.float32(end) for end in np.percentile(channel, CLIPPED))
        if low < high:
            channel = channel.clip(low, high)
    if normalisation == "min_max":
        shift, scale = float(channel.min()), float(channel.max()) - float(channel.min())
    else:
        shift, scale = float(channel.mean(dtype=np.float64)), deviation(channel)
    scaled: Image = channel - np.float32(shift)
    scaled /= np.float32(scale) or np.float32(1)
    return scaled


def deviation(channel: Image) -> float:
    """Return ``channel.std(dtype=float64)`` to the last bit, without its float64 copy."""
    flat = channel.ravel(order="K")
    mean = np.float64(channel.mean(dtype=np.float64))
    return float(np.sqrt(_squares(flat, mean) / flat.size))


PIECE = 2**20
"""Voxels whose squares are in memory at once."""


def _squares(flat: Image, mean: np.float64) -> np.float64:
    """Return the sum of squares about ``mean``, halved as numpy halves the pieces of a sum."""
    if len(flat) <= PIECE:
        squares = flat - mean
        squares *= squares
        return np.float64(np.add.reduce(squares))
    half = len(flat) // 2
    half -= half % 8
    return _squares(flat[:half], mean) + _squares(flat[half:], mean)


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
