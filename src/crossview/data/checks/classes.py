"""Rules for the classes of all labels."""

from __future__ import annotations

from collections.abc import Sequence

from crossview.core.errors import Problem
from crossview.core.regions import Region
from crossview.core.text import first_few, values_in_words
from crossview.data.checks.case import CaseFacts
from crossview.data.checks.faulty import no_class_maps, sound
from crossview.data.checks.findings import Facts, Finding, Severity, about


def classes_of_set(facts: Facts, classes: int | None, where: str) -> list[Finding]:
    """Find label values that are no classes, and classes that training does not show.

    classes: Number of classes if the source or dataset.json states it, else None.
    """
    odd = no_class_maps(facts, classes)
    if odd:
        facts = sound(facts, classes)
    every = [fact for of_role in facts.values() for fact in of_role]
    labelled = facts.get("labelled", ())
    values = sorted({value for fact in labelled for value in fact.label_counts})
    if not values:
        return [*odd, *unlabelled_labels(every)]
    known = max(classes or 0, values[-1] + 1)
    if odd:  # a class that never occurs may be in the labels that are left out
        gaps = _gaps(values, known, classes, where)
        found = [*odd, *(finding for finding in gaps if finding.severity == "error")]
    elif any(values):
        found = [*_gaps(values, known, classes, where), *_unknown(facts, known)]
    else:
        found = _finding(
            "error",
            "every label contains background only",
            where,
            "value 0 only",
            "at least one foreground class",
            "check how the labels were exported",
        )
    return [*found, *background_only(every), *inside_out(every), *unlabelled_labels(every)]


def empty_regions(facts: Facts, regions: Sequence[Region], where: str) -> list[Finding]:
    """Find regions without a voxel in the training labels."""
    counts = [fact.label_counts for fact in facts.get("labelled", ()) if fact.label_counts]
    empty = [
        f"{region.name} = {list(region.classes)}"
        for region in regions
        if counts and not any(count.get(value) for count in counts for value in region.classes)
    ]
    if not empty:
        return []
    what = "a region is empty in every training label"
    fix = "label a case that shows it, or correct the regions in dataset.json or split.toml"
    return _finding("warning", what, where, first_few(empty), "voxels of every region", fix)


def _finding(severity: Severity, *parts: str) -> list[Finding]:
    return [Finding(severity, Problem(*parts))]


def _gaps(values: Sequence[int], known: int, classes: int | None, where: str) -> list[Finding]:
    """Find classes that never occur in the training labels.

    Label values with more gaps than classes are probably not class numbers: an error.
    """
    present = [value for value in values if value]
    missing = sorted({*range(1, classes or known)} - {*values})  # values beyond are errors
    found = values_in_words(values)
    if len(missing) > len(present) and classes is None:
        return _finding(
            "error",
            "the label values are not consecutive class numbers",
            where,
            found,
            f"0 to {len(present)}",
            "number the classes 0 (background), 1, 2, ... in every label",
        )
    if not missing:
        return []
    never = f"es {first_few([*map(str, missing)])} never occur"
    if len(missing) == 1:
        never = f" {missing[0]} never occurs"
    return _finding(
        "warning",
        f"class{never} in the training labels",
        where,
        found,
        "every class",
        "label a case that shows it, or number the classes without gaps",
    )


def _unknown(facts: Facts, known: int) -> list[Finding]:
    """Find held-out labels with classes that a run trained on this set would not have.

    known: Number of classes of the run.
    """

    def unknown(fact: CaseFacts) -> list[str]:
        return [str(value) for value in fact.label_counts if value >= known]

    held_out = [*facts.get("validation", ()), *facts.get("test", ())]
    return about(
        "error",
        [fact for fact in held_out if unknown(fact) and not fact.problems],
        "label of validation or test has|labels of validation or test have",
        "classes that no training label shows: they could not be scored",
        shown=lambda fact: first_few(unknown(fact)),
        expected=f"classes 0 to {known - 1}, as in training",
        fix="move a case that shows the class to training, correct the label, or name every class "
        "in dataset.json",
    )


def unlabelled_labels(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find labels in which nobody labelled a voxel."""
    return about(
        "warning",
        [fact for fact in every if fact.ignored and not fact.label_counts],
        "label has|labels have",
        "the ignore value in every voxel",
        fix="these scans are trained on as scans without a label; delete the label files, or check "
        "the ignore value and [slices] in split.toml",
    )


def background_only(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find labels without foreground."""
    return about(
        "warning",
        [fact for fact in every if set(fact.label_counts) == {0}],
        "label contains|labels contain",
        "background only",
        fix="ignore this if these scans do not show the structure; delete the label file of a scan "
        "that nobody has labelled",
    )


MOST_INSIDE_OUT = 1 / 3
"""Maximum share of labels that can be wrong; of more than these it is the set's way."""


def inside_out(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find labels that are foreground all around their background, unlike most of the set."""
    labels = [fact for fact in every if fact.label_counts]
    odd = [fact for fact in labels if fact.encloses]
    return about(
        "warning",
        odd if len(odd) <= MOST_INSIDE_OUT * len(labels) else [],
        "label is|labels are",
        "foreground all around the background, unlike the others",
        shown=_foreground,
        expected="background around the structures, as in most labels",
        fix="look at them: if foreground and background are exchanged, invert the values",
    )


def _foreground(fact: CaseFacts) -> str:
    return f"{100 - 100 * fact.label_counts[0] / sum(fact.label_counts.values()):.0f} % foreground"
