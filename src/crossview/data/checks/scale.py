"""Rules for intensities that a normalisation would misread: fills, little signal, another scale."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from crossview.data.checks.case import CaseFacts
from crossview.data.checks.fill import Fill
from crossview.data.checks.findings import Finding, about
from crossview.data.checks.hounsfield import HIGHEST_AIR, LARGEST_NO_AIR, LOWEST_AIR

MOST_OF_SET = 2 / 3
"""Minimum share of scans in HU that makes the others odd."""


def filled(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find scans whose margin is filled with a value far from all that was measured."""

    def fill(fact: CaseFacts, above: bool) -> Fill | None:
        return next((each for each in fact.fills if each and each.above == above), None)

    def shown(fact: CaseFacts, above: bool) -> str:
        found = fill(fact, above)
        assert found is not None  # only filled scans are shown
        others = "up to" if above else "from"
        share = _share(found.share)
        return f"{found.value:.7g} in {share} of the voxels, the others {others} {found.rest:.7g}"

    return [
        finding
        for above, far in ((False, "below"), (True, "above"))
        for finding in about(
            "warning",
            [fact for fact in every if fill(fact, above)],
            "scan is|scans are",
            f"padded with a value far {far} all others",
            shown=partial(shown, above=above),
            expected="padding near the lowest measured value, such as -1024 in CT",
            fix="set these voxels to the lowest measured value, so that they do not widen the "
            "range of intensities",
        )
    ]


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
    """Find scans on another scale than the CT scans of a set, which share one."""
    known = [fact for fact in every if fact.air and not fact.constant]
    in_hu = sum(_lie(fact, LOWEST_AIR, HIGHEST_AIR) for fact in known)
    if in_hu < MOST_OF_SET * len(known):
        return []
    return about(
        "warning",
        # One cropped to the body has no air, but fat or lung.
        [fact for fact in known if not _lie(fact, LOWEST_AIR, LARGEST_NO_AIR)],
        "scan is|scans are",
        "not on the scale of the CT scans of this set",
        shown=lambda fact: "{:.7g} to {:.7g}".format(*fact.extremes[0]),
        expected="Hounsfield units, air at -1000: CT scans are scaled by numbers that all share",
        fix="export them in HU: apply the rescale slope and intercept (often 1 and -1024) once, "
        "and no window",
    )


def _lie(fact: CaseFacts, low: float, high: float) -> bool:
    return all(low < air < high for air in fact.air)
