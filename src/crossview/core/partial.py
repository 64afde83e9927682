"""Partial labels: the label values that are no class, in files' arrays and in batches alike.

A voxel that nobody labelled has the value ``IGNORED``. A voxel of a scan in which some classes were
not looked for, and that has none of the others, has a value below it. That value stands for a *set*
of classes, the background and those not looked for: the voxel is of one of them.

These are ordinary values of a label, so crops, turns and CutMix carry them along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IGNORED = 255
"""Value of voxels that nobody labelled."""


@dataclass(frozen=True)
class PartialLabels:
    """The values in a data set's labels that are no class.

    Attributes:
        sets: Classes that a voxel may be of, background first; set n has the value 254 - n.
    """

    sets: tuple[tuple[int, ...], ...] = ()

    @property
    def lowest(self) -> int:
        """The lowest value that is no class."""
        return IGNORED - len(self.sets)

    def value(self, classes: tuple[int, ...]) -> int:
        """Return the value of a set of classes. Raise ValueError for a set that is not there."""
        return IGNORED - 1 - self.sets.index(classes)

    def are_in(self, label: NDArray[np.uint8]) -> bool:
        """True if a label (*S) has a voxel whose class is not known."""
        return bool((label >= self.lowest).any())

    def classes_of(self, label: NDArray[Any]) -> NDArray[Any]:
        """Return a label (*S) with background where the class is not known."""
        return np.where(label < self.lowest, label, np.zeros((), label.dtype))

    def unknown(self, label: NDArray[np.uint8], index: int) -> NDArray[np.bool_]:
        """Return the voxels (*S) of which a label does not say if they are of class ``index``."""
        found: NDArray[np.bool_] = label == IGNORED
        for classes in self.sets:
            if index in classes:
                found |= label == self.value(classes)
        return found
