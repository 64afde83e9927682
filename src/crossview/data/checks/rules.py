"""Rules for a data set as a whole. Each reads the facts of all cases and returns its findings."""

from __future__ import annotations

from collections.abc import Sequence

from crossview.data.checks import storage
from crossview.data.checks.case import CaseFacts
from crossview.data.checks.classes import classes_of_set
from crossview.data.checks.faulty import sound
from crossview.data.checks.findings import Facts, Finding, about
from crossview.data.checks.leaks import duplicates, patients
from crossview.data.checks.outliers import intensity, spacing, too_large
from crossview.data.checks.scale import filled, little_signal, other_scale
from crossview.data.checks.together import same_kind, unit
from crossview.data.sources.folder import FEWEST_LABELLED, too_few_labelled


def check_set(facts: Facts, classes: int | None, where: str) -> list[Finding]:
    """Return every finding over all cases, errors first.

    Args:
        facts: Facts of the cases by role.
        classes: Number of classes if the source or dataset.json states it, else None.
        where: Folder of the data set, for messages.
    """
    every = [fact for of_role in facts.values() for fact in of_role]
    # A label that nobody has begun is none.
    labelled = [fact for fact in facts.get("labelled", ()) if fact.label_counts or not fact.ignored]
    findings = [
        Finding("error", problem, (fact.case.id,)) for fact in every for problem in fact.problems
    ]
    if every and len(labelled) < FEWEST_LABELLED:
        findings.append(Finding("error", too_few_labelled(len(labelled), where)))
    findings += classes_of_set(facts, classes, where)
    findings += duplicates(facts, where)
    findings += patients(facts)
    findings += same_kind(facts)
    for rule in (
        _constant,
        unit,
        spacing,
        too_large,
        intensity,
        filled,
        little_signal,
        other_scale,
    ):
        findings += rule(every)
    maps = [fact for of_role in sound(facts, classes).values() for fact in of_role]
    highest = max((max(fact.label_counts, default=0) for fact in maps), default=0)
    findings += storage.findings(every, where, highest)
    return sorted(findings, key=lambda finding: finding.severity)


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
