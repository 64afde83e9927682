"""Preprocessing of scans: normalised intensities and one voxel spacing, and the way back.

The grids are those of :mod:`crossview.data.resampling`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from crossview.core.errors import Problem, UserError
from crossview.data.case import Case
from crossview.data.io.scan import LARGEST
from crossview.data.padding import Box, unpadded
from crossview.data.resampling import resampled, resampled_label
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
