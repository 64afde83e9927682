"""Rules for what is in a data set twice: images, labels, patients."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

from crossview.core.errors import Problem
from crossview.core.text import count, first_few
from crossview.data.checks.case import CaseFacts
from crossview.data.checks.findings import Facts, Finding, Severity
from crossview.data.checks.likeness import alike
from crossview.data.checks.patients import described, divided

HELD_OUT = ("validation", "test")

ACROSS = ", across training, validation and test"

MOST_IN_GROUP = 4
"""Most names shown of one group."""

COPIES = "are copies of each other"

AGAIN = "show the same scans as others, saved with other intensities, margins or slices"


def duplicates(facts: Facts, where: str) -> list[Finding]:
    """Find images that show one scan, and labels that different images share.

    Copies are an error if one is trained on and another is scored.
    """
    side_of = {fact.case.id: _side(role) for role, of_role in facts.items() for fact in of_role}
    telling = [
        fact for of_role in facts.values() for fact in of_role if fact.digest and not fact.constant
    ]
    found: dict[tuple[Severity, str], list[list[CaseFacts]]] = defaultdict(list)
    scans = _scans(telling)
    for group in scans:
        exact = len({fact.digest for fact in group}) == 1
        leak = len({side_of[fact.case.id] for fact in group} - {"unused"}) > 1
        what = (COPIES if exact else AGAIN) + (ACROSS if leak else "")
        found["error" if leak else "warning", what].append(group)
    shared = _with_one_label(telling, scans)
    return [
        *itertools.chain.from_iterable(
            _copies(severity, groups, what, "keep only one of them", where)
            for (severity, what), groups in found.items()
        ),
        *_copies(
            "warning",
            shared,
            "differ but have identical labels",
            "check which image the label belongs to",
            where,
        ),
    ]


def _scans(every: Sequence[CaseFacts]) -> list[list[CaseFacts]]:
    """Return groups of images that show one scan, saved in the same way or not."""
    links = alike([fact.likeness for fact in every])
    first = {fact.digest: place for place, fact in reversed([*enumerate(every)])}
    links += [
        (first[fact.digest], place)
        for place, fact in enumerate(every)
        if first[fact.digest] != place
    ]
    if not links:
        return []
    # Imported only where scans are alike: training checks its data before its first step.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array(links, np.intp).T
    graph = coo_array((np.ones(len(links), np.int8), (ends[0], ends[1])), (len(every),) * 2)
    _, group_of = connected_components(graph, directed=False)
    places = dict(zip((fact.case.id for fact in every), group_of.tolist(), strict=True))
    return _groups(every, lambda fact: places[fact.case.id])


def _with_one_label(
    every: Sequence[CaseFacts], scans: Sequence[Sequence[CaseFacts]]
) -> list[list[CaseFacts]]:
    """Return groups of images of different scans whose labels are the same."""
    scan_of = {fact.case.id: number for number, group in enumerate(scans) for fact in group}
    labelled = [fact for fact in every if any(fact.label_counts)]
    return [
        group
        for group in _groups(labelled, lambda fact: fact.label_digest)
        if len({scan_of.get(fact.case.id, fact.digest) for fact in group}) > 1
    ]


def _copies(
    severity: Severity, groups: list[list[CaseFacts]], what: str, fix: str, where: str
) -> list[Finding]:
    """Return one finding for all groups of cases, or none if there are no groups."""
    if not groups:
        return []
    names = [[fact.case.id for fact in group] for group in groups]
    every = tuple(itertools.chain(*names))
    found = first_few([_shown(group, " = ") for group in names])
    return [Finding(severity, Problem(f"{len(every)} images {what}", where, found, fix=fix), every)]


def _shown(names: Sequence[str], between: str) -> str:
    more = f"{between}{len(names) - MOST_IN_GROUP} more" if len(names) > MOST_IN_GROUP else ""
    return between.join(names[:MOST_IN_GROUP]) + more


def _side(role: str) -> str:
    return role if role in (*HELD_OUT, "unused") else "training"


def _groups(
    facts: Iterable[CaseFacts], key: Callable[[CaseFacts], Hashable]
) -> list[list[CaseFacts]]:
    groups: dict[Hashable, list[CaseFacts]] = defaultdict(list)
    for fact in facts:
        groups[key(fact)].append(fact)
    return [group for group in groups.values() if len(group) > 1]


def patients(facts: Facts) -> list[Finding]:
    """Find scans that seem to be of one patient, in training and held out.

    Only the names suggest it, so it is a warning. Names of cases whose patient split.toml gives
    are left out.
    """
    side_of = {
        fact.case.id: _side(role)
        for role, of_role in facts.items()
        for fact in of_role
        if fact.case.patient == fact.case.id and role != "unused"
    }
    shared = divided(side_of)
    if not shared:
        return []
    problem = Problem(
        f"{count(len(shared), 'patient')} may be in more than one of training, validation and test",
        "",
        first_few(described(shared)),
        "each patient in only one of them",
        "keep each patient's scans together; if the names mislead, assign scans to patients in "
        "[patient] of split.toml",
    )
    cases = itertools.chain.from_iterable(
        names for sides in shared.values() for names in sides.values()
    )
    return [Finding("warning", problem, tuple(cases))]
