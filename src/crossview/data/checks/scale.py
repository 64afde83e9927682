"""Rules for intensities that a normalisation would misread: fills, little signal, another scale."""

from __future__ import annotations

from collections.abc import Sequence

from crossview.data.checks.case import CaseFacts
from crossview.data.checks.findings import Finding, about

AIR = (-3100.0, -700.0)
"""Range of the 0.5th percentile of a CT, in HU: air, or the padding of some scanners."""

MOST_OF_SET = 2 / 3
"""Minimum share of scans in HU that makes the others odd."""


def filled(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find scans whose margin is filled with a value far below all that was measured."""

    def shown(fact: CaseFacts) -> str:
        fill = next(fill for fill in fact.fills if fill)
        share = _share(fill.share)
        return f"{fill.value:.7g} in {share} of the voxels, the others from {fill.rest:.7g}"

    return about(
        "warning",
        [fact for fact in every if any(fact.fills)],
        "scan is|scans are",
        "padded with a value far below all others",
        shown=shown,
        expected="padding near the lowest measured value, such as -1024 in CT",
        fix="set these voxels to the lowest measured value, so that they do not widen the range "
        "of intensities",
    )


def little_signal(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find images whose 0.5th and 99.5th percentile are the same, though they have signal."""
    return about(
        "warning",
        [fact for fact in every if not fact.constant and min(fact.signal, default=1) < 1],
        "image has|images have",
        "a single value in all but a few voxels",
        shown=lambda fact: f"signal in {_share(min(fact.signal))}",
        expected="a 99.5th percentile above the 0.5th, to which intensities are clipped",
        fix="look at the images; ignore this if what they show is that small: they are scaled "
        "without clipping",
    )


def _share(share: float) -> str:
    return f"{share:.2%}".replace("%", " %")


def other_scale(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find scans without negative values among CT scans, which share one scale."""
    known = [fact for fact in every if fact.percentiles and not fact.constant]
    if sum(map(_in_hu, known)) < MOST_OF_SET * len(known):
        return []
    return about(
        "warning",
        [fact for fact in known if min(low for low, _ in fact.extremes) >= 0],
        "scan is|scans are",
        "not on the scale of the CT scans of this set",
        shown=lambda fact: "{:.7g} to {:.7g}".format(*fact.extremes[0]),
        expected="Hounsfield units, air at -1000: CT scans are scaled by numbers that all share",
        fix="export them in HU: apply the rescale intercept (often -1024), and no window",
    )


def _in_hu(fact: CaseFacts) -> bool:
    lows = zip(fact.percentiles, fact.fills, strict=True)
    return all(AIR[0] < (fill.rest if fill else low) < AIR[1] for (low, _, _), fill in lows)
