"""Rules for a data set as a whole. Each reads the facts of all cases and returns its findings."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from crossview.core.errors import Problem
from crossview.core.text import first_few
from crossview.data.checks import storage
from crossview.data.checks.case import CaseFacts
from crossview.data.checks.findings import Facts, Finding, Severity, about
from crossview.data.checks.outliers import intensity, spacing, too_large
from crossview.data.sources.folder import FEWEST_LABELLED, too_few_labelled

HELD_OUT = ("validation", "test")


def check_set(facts: Facts, classes: int | None, where: str) -> list[Finding]:
    """Return every finding over all cases, errors first.

    Args:
        facts: Facts of the cases by role.
        classes: Number of classes if the source or dataset.json states it, else None.
        where: Folder of the data set, for messages.
    """
    every = [fact for of_role in facts.values() for fact in of_role]
    labelled = facts.get("labelled", ())
    findings = [
        Finding("error", problem, (fact.case.id,)) for fact in every for problem in fact.problems
    ]
    if every and len(labelled) < FEWEST_LABELLED:
        findings.append(Finding("error", too_few_labelled(len(labelled), where)))
    findings += _classes(labelled, classes, where)
    findings += _duplicates(facts, where)
    findings += _patients(facts)
    for rule in (_background_only, _constant, _channels, spacing, too_large, intensity):
        findings += rule(every)
    findings += storage.findings(every, where)
    return sorted(findings, key=lambda finding: finding.severity)


def _classes(labelled: Sequence[CaseFacts], classes: int | None, where: str) -> list[Finding]:
    """Find classes that never occur in the training labels.

    Label values with more gaps than classes are probably not class numbers: an error.
    """
    values = sorted({value for fact in labelled for value in fact.label_counts})
    if not values:
        return []

    def finding(severity: Severity, *parts: str) -> list[Finding]:
        what, found, expected, fix = parts
        return [Finding(severity, Problem(what, where, found, expected, fix))]

    if not any(values):
        return finding(
            "error",
            "every label contains background only",
            "value 0 only",
            "at least one foreground class",
            "check how the labels were exported",
        )
    present = [value for value in values if value]
    missing = sorted({*range(1, max(classes or 0, values[-1] + 1))} - {*values})
    found = f"values {', '.join(map(str, values))}"
    if len(missing) > len(present) and classes is None:
        return finding(
            "error",
            "the label values are not consecutive class numbers",
            found,
            f"0 to {len(present)}",
            "number the classes 0 (background), 1, 2, ... in every label",
        )
    if not missing:
        return []
    never = f"es {', '.join(map(str, missing))} never occur"
    if len(missing) == 1:
        never = f" {missing[0]} never occurs"
    return finding(
        "warning",
        f"class{never} in the training labels",
        found,
        "every class",
        "label a case that shows it, or number the classes without gaps",
    )


def _background_only(every: Sequence[CaseFacts]) -> list[Finding]:
    return about(
        "warning",
        [fact for fact in every if set(fact.label_counts) == {0}],
        "label contains|labels contain",
        "background only",
        fix="ignore this if these scans do not show the structure; delete the label file of a scan "
        "that nobody has labelled",
    )


def _constant(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find images with a single value.

    With a label this is an error, because the label must belong to another image. Without one such
    a scan only teaches nothing.
    """
    odd = [fact for fact in every if fact.constant]
    labelled = [fact for fact in odd if fact.label_counts]
    nouns, what, fix = "image contains|images contain", "a single value", "exclude it or export it"
    unlabelled = [fact for fact in odd if not fact.label_counts]
    return [
        *about("error", labelled, nouns, what, fix=f"{fix} again"),
        *about("warning", unlabelled, nouns, what, fix=f"{fix} again"),
    ]


def _duplicates(facts: Facts, where: str) -> list[Finding]:
    """Find images with the same content, and labels that different images share.

    Copies are an error if one is trained on and another is scored.
    """
    side_of = {fact.case.id: _side(role) for role, of_role in facts.items() for fact in of_role}
    telling = [
        fact for of_role in facts.values() for fact in of_role if fact.digest and not fact.constant
    ]
    with_label = [fact for fact in telling if any(fact.label_counts)]
    leaks: list[list[CaseFacts]] = []
    others: list[list[CaseFacts]] = []
    for group in _groups(telling, lambda fact: fact.digest):
        leak = len({side_of[fact.case.id] for fact in group} - {"unused"}) > 1
        (leaks if leak else others).append(group)
    shared = [
        group
        for group in _groups(with_label, lambda fact: fact.label_digest)
        if len({fact.digest for fact in group}) > 1
    ]
    copies, keep = "are copies of each other", "keep only one of them"
    check = "check which image the label belongs to"
    return [
        *_copies("error", leaks, f"{copies} across training, validation and test", keep, where),
        *_copies("warning", others, copies, keep, where),
        *_copies("warning", shared, "differ but have identical labels", check, where),
    ]


def _copies(
    severity: Severity, groups: list[list[CaseFacts]], what: str, fix: str, where: str
) -> list[Finding]:
    """Return one finding for all groups of cases, or none if there are no groups."""
    if not groups:
        return []
    names = [[fact.case.id for fact in group] for group in groups]
    every = tuple(itertools.chain(*names))
    found = first_few([" = ".join(group) for group in names])
    return [Finding(severity, Problem(f"{len(every)} images {what}", where, found, fix=fix), every)]


def _side(role: str) -> str:
    return role if role in (*HELD_OUT, "unused") else "training"


def _groups(facts: Iterable[CaseFacts], key: Callable[[CaseFacts], str]) -> list[list[CaseFacts]]:
    groups: dict[str, list[CaseFacts]] = defaultdict(list)
    for fact in facts:
        groups[key(fact)].append(fact)
    return [group for group in groups.values() if len(group) > 1]


def _channels(every: Sequence[CaseFacts]) -> list[Finding]:
    counts = Counter(fact.channels for fact in every if fact.channels)
    usual = max(counts, key=lambda count: counts[count], default=0)
    odd = [fact for fact in every if fact.channels not in (0, usual)]
    expected = f"{usual} channels, as in the other images"
    what = "different number of channels"
    return about("error", odd, "image has a|images have a", what, expected=expected)


def _patients(facts: Facts) -> list[Finding]:
    """Find scans that seem to be of one patient, in training and held out.

    Only the names suggest it, so it is a warning.
    """
    by_patient: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for role, of_role in facts.items():
        for fact in of_role:
            if fact.case.patient == fact.case.id and role != "unused":
                by_patient[patient_in(fact.case.id)][_side(role)].append(fact.case.id)
    shared = [
        tuple(itertools.chain(*sides.values())) for sides in by_patient.values() if len(sides) > 1
    ]
    if not shared:
        return []
    problem = Problem(
        "some patients seem to be in more than one of training, validation and test "
        f"({len(shared)} in all)",
        "",
        first_few([", ".join(names) for names in shared]),
        "each patient in only one of them",
        "keep each patient's scans together; if the names mislead, assign scans to patients in "
        "[patient] of split.toml",
    )
    return [Finding("warning", problem, tuple(itertools.chain(*shared)))]


_PATIENT = re.compile(
    r"(?:sub-[a-z0-9]+|(?:subject|patient|pat|case)[-_]?\d+)(?=[-_.])", re.IGNORECASE
)


_REPEAT = re.compile(
    r"[-_.](?:left|right|l|r|pre|post|baseline|follow-?up|(?:session|ses|visit|scan|frame|time|tp|day|slice|repeat|run)[-_]?\d+)$",
    re.IGNORECASE,
)


def patient_in(name: str) -> str:
    """Return the patient that a case's name suggests.

    "sub-07" for "sub-07_ses-2", "patient12" for "patient12_frame01", "B4" for "B4_left".
    """
    match = _PATIENT.match(name)
    while match is None and _REPEAT.search(name):
        name = _REPEAT.sub("", name)
    return match[0] if match else name
