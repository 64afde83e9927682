"""Rules for what all scans of a set must share: channels, axes, a spacing, a unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from crossview.core.text import count
from crossview.data.checks.case import CaseFacts
from crossview.data.checks.findings import Facts, Finding, about

EXTENT = (2.0, 5000.0)
"""Plausible range of a scan's longest side in mm; a scan of 25 cm has 0.25 in metres."""


TRAINING = ("labelled", "hidden", "unlabelled")


def same_kind(facts: Facts) -> list[Finding]:
    """Find scans whose channels, axes or voxel spacing are of another kind than most have.

    Axes must be alike in training: a run on slices predicts volumes.
    """
    read = [fact for of_role in facts.values() for fact in of_role if fact.shape]
    trained = [fact for role in TRAINING for fact in facts.get(role, ()) if fact.shape]
    return [
        *_unlike(read, "number of channels", lambda fact: count(fact.channels, "channel")),
        *_unlike(trained, "number of axes", lambda fact: f"{len(fact.shape) - 1} axes"),
        *_unlike(
            read,
            "kind of voxel spacing",
            lambda fact: "no voxel spacing" if fact.spacing is None else "a voxel spacing",
        ),
    ]


def _unlike(
    read: Sequence[CaseFacts], what: str, kind: Callable[[CaseFacts], str]
) -> list[Finding]:
    counts = Counter(map(kind, read))
    if len(counts) < 2:
        return []
    usual = max(counts, key=lambda each: counts[each])
    return about(
        "error",
        [fact for fact in read if kind(fact) != usual],
        "image has a|images have a",
        f"different {what}",
        shown=kind,
        expected=f"{usual}, as in the other images",
        fix="export them alike, or split them into separate data sets",
    )


def implausible(fact: CaseFacts) -> bool:
    """Return True if no patient's scan is as small or as large as the voxel spacing says."""
    if not fact.spacing or not fact.shape:
        return False
    sides = zip(fact.shape[1:], fact.spacing, strict=True)
    longest = max(voxels * side for voxels, side in sides)
    return not EXTENT[0] <= longest <= EXTENT[1]


def unit(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find scans whose voxel sides seem to be in another unit than mm."""
    return about(
        "warning",
        [fact for fact in every if implausible(fact)],
        "case has|cases have",
        "voxel sides that do not seem to be in mm",
        shown=lambda fact: f"{' x '.join(f'{side:.3g}' for side in fact.spacing or ())} mm",
        expected=f"a scan whose longest side is {EXTENT[0]:g} to {EXTENT[1]:,.0f} mm",
        fix="store voxel sides in mm (0.001 instead of 1 are metres, 1000 micrometres); ignore "
        "this for microscopy",
    )
