"""Percentile bootstrap over patients, single and paired, seeds' chance, and Holm's correction.

A resample draws as many patients as there are, with replacement, and takes all cases of a drawn
patient, so the two phases of a heart stay together. The statistic is that of the tables: the mean
over cases, then over classes. Patients are drawn once for all values that are given together, so
the intervals of one table use the same resamples. Efron & Tibshirani 1993, chapters 8 and 13; Holm
1979.

Two trainings of one method with two seeds also differ on the same patients. A difference of methods
therefore holds two kinds of chance: which patients there are, and which seeds were drawn. The
bootstrap covers the first. For the second, each resample gets a Student variate with (runs - 2)
degrees of freedom, scaled by the standard error from the spread of the seeds. Seeds themselves are
too few to be resampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


Runs = Sequence[Floats]
"""Values (cases, columns) of a method's runs, one array per seed; NaN where a case has no value."""


RESAMPLES = 10_000


SEED = 0


CHUNK = 1_000
"""Resamples weighed at once; bounds the memory for thousands of patients."""


@dataclass(frozen=True)
class Difference:
    """A paired difference: its mean, 95% interval and two-sided bootstrap p-value."""

    mean: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Resamples:
    """Column means of all resamples.

    Attributes:
        means: (RESAMPLES, columns); NaN where a column has no value.
        counted: (patients, columns); True where a patient has a value.
    """

    means: Floats
    counted: NDArray[np.bool_]

    def statistics(self, columns: Sequence[int]) -> Floats | None:
        """Return the mean over the columns in each resample.

        Return None if fewer than two patients have a value: the spread is then unknown.
        """
        if np.count_nonzero(self.counted[:, columns].any(axis=1)) < 2:
            return None
        found = mean_of_defined(self.means[:, columns])
        defined: Floats = found[~np.isnan(found)]
        return defined

    def interval(self, columns: Sequence[int]) -> tuple[float, float] | None:
        """Return the 95% interval of the mean over the columns, or None."""
        found = self.statistics(columns)
        return None if found is None else _percentiles(found)


def resample(values: Floats, patients: Sequence[str]) -> Resamples:
    """Resample the patients of values (cases, columns), NaN where a case has none.

    Every call draws the same resamples.
    """
    there = ~np.isnan(values)
    names, of_case = np.unique(np.asarray(patients), return_inverse=True)
    sums, counts = np.zeros((len(names), values.shape[1])), np.zeros((len(names), values.shape[1]))
    np.add.at(sums, of_case, np.where(there, values, 0.0))
    np.add.at(counts, of_case, there)
    with np.errstate(invalid="ignore"):
        means = np.concatenate(
            [(weights @ sums) / (weights @ counts) for weights in _weights(len(names))]
        )
    return Resamples(means, counts > 0)


def mean_of_defined(values: Floats) -> Floats:
    """Return the mean along the last axis without NaN; NaN where nothing is left."""
    counted = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means: Floats = np.where(counted, values, 0.0).sum(axis=-1) / counted.sum(axis=-1)
    return means


def mean_of_means(values: Floats) -> float:
    """Return the mean over cases, then over columns, of values (cases, columns).

    NaN values do not count; the result is NaN if none counts.
    """
    return float(mean_of_defined(mean_of_defined(values.T)))


def interval(values: Floats, patients: Sequence[str]) -> tuple[float, float] | None:
    """Return the 95% interval of :func:`mean_of_means`.

    Return None if fewer than two patients have a value.
    """
    return resample(values, patients).interval(range(values.shape[1]))


def over_seeds(runs: Runs) -> Floats:
    """Average over seeds, per case and column. Runs without a value there are left out."""
    return mean_of_defined(np.stack(runs, axis=-1))


def paired(ours: Runs, baseline: Runs, patients: Sequence[str]) -> Difference | None:
    """Return the difference ours - baseline of runs on the same cases.

    Seeds are averaged within a case; a value counts where both sides have it. The interval covers
    the variation between patients and, if both sides have several seeds, between seeds. The p-value
    is twice the smaller share of resamples on either side of zero.

    Args:
        ours: Values (cases, columns) per seed.
        baseline: Values (cases, columns) per seed.
        patients: The patient of each case.

    Returns:
        The difference, or None if fewer than two patients have one.

    Raises:
        ValueError: If the shapes of the runs differ.
    """
    shapes = {run.shape for run in (*ours, *baseline)}
    if len(shapes) > 1:
        raise ValueError(f"runs have the shapes {sorted(shapes)}")
    differences = over_seeds(ours) - over_seeds(baseline)
    found = resample(differences, patients).statistics(range(differences.shape[1]))
    if found is None:
        return None
    found = found + _of_seeds(ours, baseline)[: len(found)]
    smaller = int(min(np.count_nonzero(found <= 0), np.count_nonzero(found >= 0)))
    return Difference(
        mean_of_means(differences),
        *_percentiles(found),
        min(1.0, 2.0 * (smaller + 1) / (len(found) + 1)),
    )


def _of_seeds(ours: Runs, baseline: Runs) -> Floats:
    """Return what other seeds would have added to the difference in each resample.

    Zeros if a side has one seed, which says nothing about the spread.
    """
    if min(len(ours), len(baseline)) < 2:
        return np.zeros(RESAMPLES)
    sides = [np.array([mean_of_means(run) for run in runs]) for runs in (ours, baseline)]
    error = np.sqrt(sum(np.nanvar(side, ddof=1) / len(side) for side in sides))
    generator = np.random.Generator(np.random.Philox(SEED + 1))
    variates: Floats = error * generator.standard_t(len(ours) + len(baseline) - 2, RESAMPLES)
    return variates


def p_text(p: float) -> str:
    """Return p as text: "p = 0.026", or "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values in the given order.

    The i-th smallest of m is multiplied by (m - i + 1). Adjusted values never fall, and stop at 1.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def _weights(patients: int) -> Iterator[Floats]:
    """Yield how often each patient is drawn, (CHUNK, patients) at a time, RESAMPLES rows in all.

    Every call yields the same.
    """
    generator = np.random.Generator(np.random.Philox(SEED))
    for _ in range(RESAMPLES // CHUNK):
        yield generator.multinomial(patients, np.full(patients, 1.0 / patients), size=CHUNK).astype(
            np.float64
        )


def _percentiles(statistics: Floats) -> tuple[float, float]:
    low, high = np.percentile(statistics, [2.5, 97.5])
    return float(low), float(high)
