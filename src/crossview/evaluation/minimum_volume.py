"""The minimum volume of each class's pieces that scores best on held-out cases.

A trade: a larger one removes more that is wrong, and small structures that are right. The volume of
the highest mean Dice is taken. What it gains is measured fairly, on each patient with the volume
that is best for the others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.regions import voxels_of
from crossview.data.case import Case, Splits
from crossview.evaluation.bootstrap import Difference, Floats, mean_of_defined, paired
from crossview.evaluation.evaluate import masks, scored_classes
from crossview.methods.blocks.pieces import ROUNDING, Pieces

Label = NDArray[np.uint8]

STEPS = (1, 2, 5)
"""Volumes that are tried, times powers of ten: finer steps would fit the cases at hand."""


@dataclass(frozen=True)
class Found:
    """The predicted pieces of a class in a case, and its label.

    Attributes:
        volumes: Of each piece.
        voxels: Of each piece, those whose true class is known.
        right: Of these, the voxels that the label has too.
        labelled: Voxels of the label.
        smallest: Volume of the label's smallest piece, NaN without one.
    """

    patient: str
    volumes: NDArray[np.floating[Any]]
    voxels: NDArray[np.int64]
    right: NDArray[np.int64]
    labelled: int
    smallest: float

    def dice(self, minimum: float) -> float:
        """Return the Dice without the pieces below a volume; 1 if rightly nothing is left."""
        kept = self.volumes >= minimum * (1 - ROUNDING)
        size = int(self.voxels[kept].sum()) + self.labelled
        return 2.0 * int(self.right[kept].sum()) / size if size else 1.0


@dataclass(frozen=True)
class Choice:
    """The choice for a class.

    Attributes:
        name: Of the class.
        volume: The best of the volumes tried, 0 for none.
        tried: All of them, with 0.
        dice: Mean Dice with each.
        difference: To 0, each patient with the volume that is best for the others; None for fewer
            than two patients.
        smallest: Volume of the smallest labelled piece, NaN without one.
    """

    name: str
    volume: float
    tried: tuple[float, ...]
    dice: tuple[float, ...]
    difference: Difference | None
    smallest: float

    @property
    def useful(self) -> bool:
        """True if the volume is better than none by more than chance."""
        return self.volume > 0 and self.difference is not None and self.difference.low > 0

    @property
    def advised(self) -> float:
        return self.volume if self.useful else 0.0


def found_in(
    case: Case, label: Label, prediction: Label, splits: Splits, voxel: float
) -> dict[int, Found]:
    """Return what a prediction (*S) of a case found of each class that its label (*S) says.

    Regions take the place of classes, each by itself.

    voxel: the volume of a voxel.
    """
    found = {}
    for of_class in scored_classes(case, label, splits):
        classes = splits.members(of_class)
        mine, true, _ = masks(case, label, prediction, classes)
        pieces = Pieces.of(voxels_of(prediction, classes).astype(np.uint8))
        most = len(pieces.voxels)
        found[of_class] = Found(
            case.patient,
            pieces.voxels[1:] * voxel,
            np.bincount(pieces.numbers[mine], minlength=most)[1:],
            np.bincount(pieces.numbers[mine & true], minlength=most)[1:],
            int(np.count_nonzero(true)),
            min(map(int, Pieces.of(true.astype(np.uint8)).voxels[1:]), default=math.nan) * voxel,
        )
    return found


def chosen(name: str, found: Sequence[Found]) -> Choice:
    """Return the choice for a class by what was found of it in cases."""
    tried = (0.0, *_tried(found))
    dice = np.array([[each.dice(volume) for volume in tried] for each in found])
    patients = [each.patient for each in found]
    fair = np.empty(len(found))
    for patient in dict.fromkeys(patients):
        mine = np.array([each == patient for each in patients])
        fair[mine] = dice[mine, _best(dice[~mine])] if not mine.all() else dice[mine, 0]
    means = mean_of_defined(dice.T)
    smallest = np.array([each.smallest for each in found if each.labelled])
    return Choice(
        name,
        tried[_best(dice)],
        tried,
        tuple(map(float, means)),
        paired([fair[:, None]], [dice[:, :1]], patients),
        float(smallest.min()) if len(smallest) else math.nan,
    )


def _best(dice: Floats) -> int:
    """Return the column of the highest mean, of equal ones the first."""
    return int(np.argmax(dice.mean(0).round(9)))


def _tried(found: Sequence[Found]) -> Iterator[float]:
    """Yield round volumes, from one that removes the smallest piece to one that removes all."""
    volumes = np.concatenate([each.volumes for each in found])
    if not len(volumes):
        return
    powers = itertools.count(math.floor(math.log10(volumes.min())))
    for volume in (step * 10.0**power for power in powers for step in STEPS):
        if volume > volumes.min():
            yield volume
        if volume > volumes.max():
            return
