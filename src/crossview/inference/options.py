"""The table [inference] of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from crossview.core.table import Table


class InferenceOptions(Table):
    """The table [inference]."""

    mode: Literal["windows", "slices"] = Field(
        "windows",
        description="sliding windows (2D patch: in every slice), "
        "or slices resized to the patch and back",
    )
    stride: tuple[int, ...] = Field((18, 18, 4), description="step of the windows along each axis")
    window: Literal["uniform", "gaussian"] = Field(
        "uniform",
        description="weight of a window's voxels where windows overlap: all equal, or falling "
        "from the centre to the edge, which softens the seams between windows",
    )
    largest_component: bool = Field(True, description="keep the largest component of each class")
    minimum_volume: tuple[float, ...] = Field(
        (),
        description="pieces of a class with less volume become background: one number for all "
        "classes, or one per foreground class or region; in mm3 by the scan's voxel spacing, but "
        "in voxels, or pixels of images, if the recipe has no `data.spacing`",
    )
    batch: int = Field(
        4,
        ge=1,
        le=4096,
        description="windows or slices per forward pass; changes results by rounding alone",
    )
    flips: bool = Field(
        False,
        description="average over the scan and its reflections along the first two axes of the "
        "patch; takes four times as long; only with augmentation rot90_flip, because a model "
        "that never saw mirror images fails on them",
    )

    def minimum_of(self, classes: int) -> tuple[float, ...]:
        """Return the minimum volume of each foreground class; () if no piece is removed."""
        every = self.minimum_volume
        return (every * (classes - 1) if len(every) == 1 else every) if any(every) else ()


def windows_fit(stride: Sequence[int], patch: Sequence[int]) -> bool:
    """True if windows of ``patch`` voxels every ``stride`` voxels move on and leave no gaps."""
    return len(stride) == len(patch) and all(
        1 <= step <= side for step, side in zip(stride, patch, strict=True)
    )
