"""Rules for cases whose voxel spacing or intensities are unlike those of the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from crossview.data.checks.case import CaseFacts
from crossview.data.checks.findings import Finding, about
from crossview.data.checks.together import implausible
from crossview.data.io.scan import LARGEST

SPACING_FACTOR = 3

INTENSITY_FACTOR = 10

VARIES = ", or no further out than other cases if the data set varies more"

DEVIATIONS = 5
"""Minimum distance of an outlier from the median, in robust standard deviations of logarithms.

A robust standard deviation is 1.4826 times the median absolute deviation.
"""


FEWEST_COMPARED = 5
"""Minimum number of cases for a meaningful median."""


def _sides(sides: Iterable[float]) -> str:
    return f"{' x '.join(f'{side:.3g}' for side in sides)} mm"


def _with_spacing(every: Sequence[CaseFacts]) -> tuple[list[CaseFacts], NDArray[np.float64]]:
    """Return the cases with a spacing, and their spacings (cases, axes); none if axes differ."""
    known = [fact for fact in every if fact.spacing]
    if len({len(fact.spacing or ()) for fact in known}) != 1:
        return [], np.empty((0, 0))
    return known, np.array([fact.spacing for fact in known])


def spacing(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find cases whose spacing is an outlier, by ``SPACING_FACTOR``, along some axis."""
    known, sides = _with_spacing(every)
    if len(known) < FEWEST_COMPARED:
        return []
    far = np.any([_outliers(axis, SPACING_FACTOR) for axis in sides.T], axis=0)
    far &= ~np.array([*map(implausible, known)])
    usual = _sides(np.median(sides, axis=0))
    return about(
        "warning",
        [known[place] for place in np.flatnonzero(far)],
        "case has|cases have",
        "an unusual voxel spacing",
        shown=lambda fact: _sides(fact.spacing or ()),
        expected=f"within a factor of {SPACING_FACTOR} of the median {usual}{VARIES}",
        fix="check the headers",
    )


def too_large(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find scans that resampling to the median spacing would make larger than any scan."""
    known, sides = _with_spacing(every)
    if not known:
        return []
    usual = np.median(sides, axis=0)
    voxels = [np.prod(np.array(fact.shape[1:]) * fact.spacing / usual) for fact in known]
    return about(
        "error",
        [fact for fact, count in zip(known, voxels, strict=True) if count > LARGEST],
        "case has|cases have",
        "an implausible voxel spacing: the scan would be too large once resampled to the median "
        "spacing",
        shown=lambda fact: _sides(fact.spacing or ()),
        expected=f"at most {LARGEST:,} voxels once resampled to the median {_sides(usual)}",
        fix="correct the headers",
    )


def intensity(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find cases with an unusual intensity range or single extreme values, per channel."""
    findings = []
    known = [fact for fact in every if fact.percentiles and not fact.constant]
    for channel in range(max((fact.channels for fact in known), default=0)):
        # A scan with a fill has a finding of its own.
        having = [fact for fact in known if fact.channels > channel and not fact.fills[channel]]
        findings += _other_range(having, channel) + _single_values(having, channel)
    return findings


def _other_range(known: Sequence[CaseFacts], channel: int) -> list[Finding]:
    known = [fact for fact in known if _width(fact, channel) > 0]
    if len(known) < FEWEST_COMPARED:
        return []
    widths = np.array([_width(fact, channel) for fact in known])
    percentiles = np.array([fact.percentiles[channel] for fact in known])
    low, middle, high = np.median(percentiles, axis=0)
    reach = INTENSITY_FACTOR * np.maximum(np.median(widths), widths)
    far = _outliers(widths, INTENSITY_FACTOR) | (np.abs(percentiles[:, 1] - middle) > reach)
    odd = [known[place] for place in np.flatnonzero(far)]
    return about(
        "warning",
        sorted(odd, key=lambda fact: -_width(fact, channel)),
        "case has|cases have",
        "an unusual intensity range" + _in_channel(channel),
        shown=lambda fact: "{0:.4g} to {2:.4g}".format(*fact.percentiles[channel]),
        expected=f"0.5th to 99.5th percentile within a factor of {INTENSITY_FACTOR} of the median "
        f"range {low:.4g} to {high:.4g}{VARIES}",
        fix="ignore this if each scan is normalised on its own (z-score); otherwise check units "
        "and export",
    )


def _width(fact: CaseFacts, channel: int) -> float:
    return fact.percentiles[channel][2] - fact.percentiles[channel][0]


def _in_channel(channel: int) -> str:
    return f" in channel {channel}" if channel else ""


def _single_values(known: Sequence[CaseFacts], channel: int) -> list[Finding]:
    odd = []
    for fact in known:
        low, _, high = fact.percentiles[channel]
        reach = INTENSITY_FACTOR * (high - low)
        smallest, largest = fact.extremes[channel]
        if reach > 0 and (smallest < low - reach or largest > high + reach):
            odd.append(fact)
    return about(
        "warning",
        odd,
        "case has|cases have",
        "single voxels far outside the intensity range" + _in_channel(channel),
        shown=lambda fact: "{:.7g} to {:.7g}".format(*fact.extremes[channel]),
        expected="no value beyond the 0.5th to 99.5th percentile by more than "
        f"{INTENSITY_FACTOR} times the width of that range",
        fix="clip them, or train with data.normalisation = z_score_clipped",
    )


def _outliers(values: NDArray[np.float64], factor: float) -> NDArray[np.bool_]:
    """Mark values that differ from the median by more than ``factor`` and ``DEVIATIONS``.

    values: positive.
    """
    logarithms = np.log(values)
    distance = np.abs(logarithms - np.median(logarithms))
    limit = max(float(np.log(factor)), DEVIATIONS * 1.4826 * float(np.median(distance)))
    return np.asarray(distance > limit)
