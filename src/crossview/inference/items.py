"""Images to predict, each with the grid that its prediction is wanted on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossview.data.case import Case
from crossview.data.padding import Box
from crossview.data.preprocess import Preprocessing


class Item(Protocol):
    """An image to predict, and anything else its caller wants back with the prediction."""

    @property
    def image(self) -> NDArray[np.float32]:
        """Network input, (C, *S'). Asked for once, right before the first forward pass."""
        ...

    @property
    def shape(self) -> Sequence[int]:
        """Shape *S of the grid that the prediction is wanted on."""
        ...

    @property
    def box(self) -> Box:
        """Part of that grid that the image shows, () for all; the rest is background."""
        ...

    @property
    def voxel(self) -> float:
        """Volume of a voxel of that grid, see :func:`volume_of_voxel`."""
        ...


AnyItem = TypeVar("AnyItem", bound=Item)


def volume_of_voxel(preprocessing: Preprocessing, spacing: Sequence[float] | None) -> float:
    """Return the volume of a voxel of a scan in mm3; 1 for a model that knows no voxel spacing."""
    return math.prod(spacing) if preprocessing.spacing and spacing is not None else 1.0


@dataclass(frozen=True, eq=False)
class ArrayItem:
    """An image in memory to predict on its own grid, or on another one of ``shape``."""

    image: NDArray[np.float32]
    shape: Sequence[int]
    box: Box = ()
    voxel: float = 1.0

    @classmethod
    def on_own_grid(cls, image: NDArray[np.float32]) -> ArrayItem:
        return cls(image, image.shape[1:])


@dataclass(frozen=True, eq=False)
class CaseItem:
    """A case to predict on its own grid. It is prepared when the predictor asks for it.

    stored: the image as read, (C, *S). label: (*S), None without one.
    """

    case: Case
    stored: NDArray[np.float32]
    preprocessing: Preprocessing
    label: NDArray[np.uint8] | None = None

    @property
    def image(self) -> NDArray[np.float32]:
        return self.preprocessing.image(self.stored, self.case.spacing, self.case.where)

    @property
    def shape(self) -> Sequence[int]:
        return self.stored.shape[1:]

    @property
    def box(self) -> Box:
        return self.preprocessing.box(self.stored)

    @property
    def voxel(self) -> float:
        return volume_of_voxel(self.preprocessing, self.case.spacing)
