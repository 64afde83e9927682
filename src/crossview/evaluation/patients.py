"""Patients of an evaluation: how many there are, and the scores of each.

Intervals are over patients, so a hundred slices of four patients say as little as four scans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.text import count
from crossview.evaluation.bootstrap import mean_of_means

ENOUGH_PATIENTS = 10
"""Number of patients below which a bootstrap interval is rough."""


def of_patients(
    values: Mapping[str, NDArray[np.float64]], patients: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the scores of each patient, in order; [] if every case is a patient of its own.

    Args:
        values: Values (cases, classes) by metric, NaN where undefined.
        patients: The patient of each case.
    """
    names = list(dict.fromkeys(patients))
    if len(names) == len(patients):
        return []
    found = []
    for name in names:
        own = [row for row, patient in enumerate(patients) if patient == name]
        means = {metric: mean_of_means(of_metric[own]) for metric, of_metric in values.items()}
        scores = {metric: None if np.isnan(mean) else mean for metric, mean in means.items()}
        found.append({"patient": name, "cases": len(own), **scores})
    return found


def worst_first(patients: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the entries of :func:`of_patients` by their Dice; those without one come last."""
    return sorted(patients, key=lambda each: 2.0 if each["dice"] is None else each["dice"])


def cases_of(cases: int, patients: int, noun: str = "case") -> str:
    """Return "8 cases of 4 patients", or "8 cases" if every case is a patient of its own."""
    of = f" of {count(patients, 'patient')}" if patients != cases else ""
    return f"{count(cases, noun)}{of}"


def caution(patients: int) -> str:
    """Return the caution about intervals over few patients; "" for enough."""
    if patients >= ENOUGH_PATIENTS:
        return ""
    few = count(patients, "patient")
    return f"Intervals over only {few} are rough and tend to be too narrow."


def only_first(cases: int) -> str:
    """Return the note on an evaluation of the first cases of a split."""
    if cases == 1:
        return "only the first case was scored"
    return f"only the first {cases:,} cases were scored"
