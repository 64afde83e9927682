"""Rows of a comparison. Tables, pages, plots and the terminal all render these.

Overlaps and their differences are fractions, distances are in the row's unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from crossview.evaluation.bootstrap import Difference
from crossview.evaluation.finished import FinishedRun


@dataclass(frozen=True)
class Spread:
    """A measure of a row, over seeds and patients.

    Attributes:
        mean: Mean over seeds; NaN where nothing counts.
        seeds: Mean of each seed that has one.
        ci95: 95% interval over patients, or None.
        left_out: Number of predictions that are in none of these numbers, because they or the truth
            are empty and have no such measure.
    """

    mean: float
    seeds: tuple[float, ...] = ()
    ci95: tuple[float, float] | None = None
    left_out: int = 0

    @property
    def sd(self) -> float | None:
        """Standard deviation over seeds (n - 1); None for one seed."""
        return float(np.std(self.seeds, ddof=1)) if len(self.seeds) > 1 else None


@dataclass(frozen=True)
class Row:
    """A method in a setting.

    Attributes:
        steps: Training steps of one run.
        seconds: Training time, the mean over seeds.
        metrics: The mean over classes, by metric.
        classes: The same for each class, by its name.
        empty: Number of predictions by kind of empty mask.
        predictions: Cases x classes x seeds.
        protocol: See Membership.
        reference: See Membership.
        differences: Differences to the baseline by metric; {} without a row to compare with.
        p: p-value of the Dice difference, by Holm's correction over the compared rows. None for a
            reference, which does not compete, and for a difference with one seed on a side.
        verdict: "better", "worse" or "no difference shown", by the Dice difference; "one seed",
            which shows nothing; "reference"; "" where nothing is compared.
        runs: The runs of the row, in the order given.
    """

    method: str
    setting: str
    selection: str
    checkpoint: str
    unit: str
    seeds: tuple[int, ...]
    cases: int
    predictions: int
    steps: int
    seconds: float
    metrics: Mapping[str, Spread]
    classes: Mapping[str, Mapping[str, Spread]]
    empty: Mapping[str, int]
    patients: int = 0
    protocol: str = ""
    reference: bool = False
    is_baseline: bool = False
    differences: Mapping[str, Difference] = field(default_factory=dict)
    p: float | None = None
    verdict: str = ""
    runs: tuple[FinishedRun, ...] = field(default=(), repr=False)

    @property
    def difference(self) -> Difference | None:
        """The difference of Dice, which decides the verdict."""
        return self.differences.get("dice")

    @property
    def optimistic(self) -> bool:
        """True if the checkpoint was selected on the test cases."""
        return self.selection == "test"
