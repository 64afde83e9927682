"""Connected pieces of the classes of a label, and the removal of small ones, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from crossview.methods.blocks.components import Labels, bounding_box, connectivity

ROUNDING = 1e-6
"""Share by which a volume in floats may miss the one that was asked for."""


@dataclass(frozen=True)
class Pieces:
    """The connected pieces of each class; corners connect, as for the largest component.

    Attributes:
        numbers: The number of each voxel's piece (*S), from 1; 0 is background.
        classes: The class of each piece, at its number; 0 at 0.
        voxels: The voxels of each piece, at its number; 0 at 0.
    """

    numbers: NDArray[np.integer[Any]]
    classes: Labels
    voxels: NDArray[np.int64]

    @classmethod
    def of(cls, label: Labels) -> Pieces:
        """Return the pieces of a label, uint8 (X, Y) or (X, Y, Z)."""
        found, count = cc3d.connected_components(
            np.ascontiguousarray(label), connectivity=connectivity(label.ndim), return_N=True
        )
        foreground = label > 0
        of_voxel = found[foreground]
        classes = np.zeros(count + 1, np.uint8)
        classes[of_voxel] = label[foreground]
        return cls(found, classes, np.bincount(of_voxel, minlength=count + 1))


def without_small(label: Labels, smallest: Sequence[float]) -> Labels:
    """Return a label (*S) whose pieces below a number of voxels are background.

    smallest: for each foreground class, the voxels of the smallest piece that is kept.
    """
    box = bounding_box(label > 0)
    if box is None or not any(smallest):
        return label
    pieces = Pieces.of(label[box])
    needed = np.array([0.0, *smallest])[pieces.classes] * (1 - ROUNDING)
    result = label.copy()
    result[box][(pieces.voxels < needed)[pieces.numbers]] = 0
    return result
