"""Estimated Dice of scans without labels, and the error of that estimate.

The networks' probabilities promise a Dice (:attr:`Segmentation.expected
<crossview.inference.assembly.Segmentation.expected>`). They are too sure of themselves, so a
straight line from promised to true Dice is fitted to held-out scans with labels. Its error is
measured by leaving out one patient at a time, next to that of the plain mean of their Dice: an
estimate that is not clearly better than the mean is not shown.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossview.core.run_folder import RunFolder
from crossview.core.text import number, percent, table
from crossview.evaluation.scores import COMBINED, Score

Array = NDArray[np.float64]

FEWEST = 10
"""Held-out patients from which a line is fitted. With fewer it is no better than the mean, measured
on hippocampus scans (docs/explanation/evidence.md)."""

CLEARLY = 0.75
"""Largest error of a line that is shown, as a share of the mean's error. On hippocampus scans lines
of 0.9 were no help on other scans; on left atria the share was 0.5."""


@dataclass(frozen=True)
class HeldOut:
    """A held-out scan: its patient, the Dice that its probabilities promise, and its true Dice."""

    patient: str
    expected: float
    dice: float


@dataclass(frozen=True)
class Estimate:
    """A line from promised to true Dice.

    Attributes:
        patients: Held-out patients that it was fitted to.
        scans: Their scans.
        slope: True Dice per promised Dice, 0 or more.
        centre: The mean promised Dice.
        mean: The mean true Dice.
        lowest, highest: The range of promised Dice.
        error: Mean absolute error, each patient left out in turn.
        error_of_mean: The same of the mean Dice of the other patients.
    """

    patients: int
    scans: int
    slope: float
    centre: float
    mean: float
    lowest: float
    highest: float
    error: float
    error_of_mean: float

    @property
    def useful(self) -> bool:
        """True if the line is clearly closer to the truth than the mean is."""
        return self.error < CLEARLY * self.error_of_mean

    def of(self, expected: float) -> float | None:
        """Return the estimated Dice, or None for a scan unlike any of the held-out ones."""
        if not (self.useful and self.lowest <= expected <= self.highest):
            return None
        return self.on_line(expected)

    def on_line(self, expected: float) -> float:
        """Return the Dice on the line, shown or not."""
        return min(max(self.mean + self.slope * (expected - self.centre), 0.0), 1.0)

    @property
    def text(self) -> str:
        """What a user must know of the estimates."""
        over = f"{self.scans} held-out scans of {self.patients} patients"
        both = (
            f"off by {percent(self.error)} points on average on {over}, where their mean Dice "
            f"({percent(self.mean)} %) is off by {percent(self.error_of_mean)}"
        )
        if self.useful:
            return f"The estimated Dice is {both}."
        return f"No Dice is estimated: the estimate would be {both}."


def fitted(found: Sequence[HeldOut]) -> Estimate | None:
    """Return the line of held-out scans, or None if there are fewer than ``FEWEST`` patients."""
    places = defaultdict(list)
    for place, each in enumerate(found):
        places[each.patient].append(place)
    if len(places) < FEWEST:
        return None
    expected = np.array([each.expected for each in found])
    dice = np.array([each.dice for each in found])
    of_line, of_mean = [], []
    for left_out in places.values():
        x, y = np.delete(expected, left_out), np.delete(dice, left_out)
        line = y.mean() + _slope(x, y) * (expected[left_out] - x.mean())
        of_line += [*np.abs(line.clip(0, 1) - dice[left_out])]
        of_mean += [*np.abs(y.mean() - dice[left_out])]
    return Estimate(
        patients=len(places),
        scans=len(found),
        slope=_slope(expected, dice),
        centre=float(expected.mean()),
        mean=float(dice.mean()),
        lowest=float(expected.min()),
        highest=float(expected.max()),
        error=float(np.mean(of_line)),
        error_of_mean=float(np.mean(of_mean)),
    )


def _slope(expected: Array, dice: Array) -> float:
    """Return the slope of least squares, 0 if it is negative or there is none."""
    away = expected - expected.mean()
    spread = float(away @ away)
    return max(float(away @ (dice - dice.mean())) / spread, 0.0) if spread > 0 else 0.0


def recorded(scores: Iterable[Score], expected: Mapping[str, float], step: int) -> str:
    """Return the content of expected.json: promised and true Dice of each scored scan.

    A scan in which nothing was found promises nothing, and is left out.
    """
    dice = defaultdict(list)
    patients = {}
    for each in scores:
        if each.view == COMBINED and not math.isnan(each.measures.dice):
            dice[each.case].append(each.measures.dice)
            patients[each.case] = each.patient
    cases = {
        case: {
            "patient": patients[case],
            "expected": expected[case],
            "dice": float(np.mean(values)),
        }
        for case, values in dice.items()
        if math.isfinite(expected[case])
    }
    return json.dumps({"step": step, "cases": cases}, indent=1) + "\n"


def held_out(run: RunFolder, step: int) -> list[HeldOut]:
    """Return the held-out scans that were scored with the weights of a step.

    Those that chose the checkpoint are left out: their Dice is too high for other scans.
    """
    chose = table(run.tables.get("training")).get("selection")
    files = [each.expected for each in run.evaluations if each.split != chose]
    rows = [row for each in files if each.get("step") == step for row in _rows(each)]
    return [row for row in rows if row is not None]


def _rows(content: Mapping[str, object]) -> list[HeldOut | None]:
    return [_row(table(row)) for row in table(content.get("cases")).values()]


def _row(row: Mapping[str, object]) -> HeldOut | None:
    expected, dice = number(row.get("expected")), number(row.get("dice"))
    if expected is None or dice is None:
        return None
    return HeldOut(str(row.get("patient")), expected, dice)


def estimate_of(run: RunFolder, step: int) -> tuple[Estimate | None, str]:
    """Return the estimate of a run's weights, and what a user must know of it."""
    found = held_out(run, step)
    estimate = fitted(found)
    if estimate is not None:
        return estimate, estimate.text
    patients = len({each.patient for each in found})
    return None, (
        f"No Dice is estimated: that takes {FEWEST} evaluated test patients, and this run has "
        f"{patients}."
    )
