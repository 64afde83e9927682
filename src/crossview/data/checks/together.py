"""Rules for what all scans of a set must share: channels, axes, a spacing, a unit."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from crossview.core.errors import Problem
from crossview.core.text import count, first_few
from crossview.data.checks.case import CaseFacts
from crossview.data.checks.findings import Facts, Finding, about

EXTENT = (2.0, 5000.0)
"""Plausible range of a scan's longest side in mm; a scan of 25 cm has 0.25 in metres."""

_CHANNEL = re.compile(r"(.+)_(\d{4})")


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


def channels_as_scans(facts: Facts, where: str) -> list[Finding]:
    """Find channels that are taken for scans of their own because the labels bear a channel too.

    So it is if x_0000 has a label x_0000, and x_0001 has none, for every x.
    """
    labels: dict[str, dict[str, bool]] = defaultdict(dict)
    for of_role in facts.values():
        for fact in of_role:
            match = _CHANNEL.fullmatch(fact.case.id)
            if match is None:
                return []
            labels[match[1]][match[2]] = fact.case.labelled
    kinds = {tuple(sorted(numbers)) for numbers in labels.values()}
    expected = tuple(f"{number:04}" for number in range(len(min(kinds, default=()))))
    unlabelled = [
        f"{name}_{number}"
        for name, numbers in labels.items()
        for number, labelled in numbers.items()
        if number != "0000" and not labelled
    ]
    others = sum(len(numbers) - 1 for numbers in labels.values())
    if len(labels) < 2 or kinds != {expected} or not others or len(unlabelled) < others:
        return []
    problem = Problem(
        f"{count(others, 'scan')} may be channels of other scans",
        where,
        first_few(unlabelled),
        "labels without a channel's number: x.nii.gz for x_0000 and x_0001",
        "rename the labels; ignore this if every file is a scan of its own",
    )
    return [Finding("warning", problem, tuple(unlabelled))]
