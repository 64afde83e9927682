"""Regions: classes made of several label values, which may contain each other (nnU-Net)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Entry = tuple[str, tuple[int, ...], int]
"""A region in a recipe: its name, its classes, and the class that is written for it."""


@dataclass(frozen=True)
class Region:
    """A region of a label.

    Attributes:
        name: Its name.
        classes: The numbers of its classes, ascending.
        written: The class that a prediction holds where this is the last region, one of its own.
    """

    name: str
    classes: tuple[int, ...]
    written: int

    def mask(self, label: Any) -> Any:
        """Return the voxels of a label that are of the region."""
        return voxels_of(label, self.classes)


def voxels_of(label: Any, classes: Iterable[int]) -> Any:
    """Return the voxels of a label that are of any of these classes, an array or a tensor."""
    first, *others = classes
    found = label == first
    for each in others:
        found = found | (label == each)
    return found


def regions_of(entries: Sequence[Entry]) -> tuple[Region, ...]:
    """Return the regions of a recipe."""
    return tuple(Region(name, tuple(classes), written) for name, classes, written in entries)


def written(masks: Sequence[NDArray[np.bool_]], regions: Sequence[Region]) -> NDArray[np.uint8]:
    """Return the label (*S) of one mask per region: a later region is written over earlier ones."""
    label = np.zeros(masks[0].shape, np.uint8)
    for mask, region in zip(masks, regions, strict=True):
        label[mask] = region.written
    return label


def of_data(options: Any) -> tuple[Region, ...]:
    """Return the regions of a recipe's [data] table, () for exclusive classes."""
    return regions_of(getattr(options, "regions", ()))
