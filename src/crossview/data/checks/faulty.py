"""Labels whose values are no classes, among others that are maps of classes."""

from __future__ import annotations

from collections.abc import Sequence

from crossview.core.text import first_few, values_in_words
from crossview.data.checks.case import CaseFacts
from crossview.data.checks.findings import Facts, Finding, about

MOST_STRAY = 1 / 3
"""Maximum share of labels that can have stray values; of more than these it is the set's way."""


def sound(facts: Facts, classes: int | None) -> Facts:
    """Return the facts without the cases whose labels are faulty.

    classes: Number of classes if the source or dataset.json states it, else None.
    """
    odd = {fact.case.id for fact in faulty(facts, classes)}
    return {
        role: [fact for fact in of_role if fact.case.id not in odd]
        for role, of_role in facts.items()
    }


def faulty(facts: Facts, classes: int | None) -> list[CaseFacts]:
    """Return the cases whose labels have grey edges or stray values."""
    grey = [fact for of_role in facts.values() for fact in of_role if fact.grey_edges]
    return [*grey, *stray(facts, classes)]


def stray(facts: Facts, classes: int | None) -> list[CaseFacts]:
    """Return the few cases whose labels have values beyond the classes of the others.

    Where the number of classes is not stated, the class numbers of training end at the first gap,
    if there are more gaps than classes.
    """
    roles = facts.values() if classes else [facts.get("labelled", ())]
    labels = [
        fact for of_role in roles for fact in of_role if fact.label_counts and not fact.grey_edges
    ]
    limit = classes or _first_gap({value for fact in labels for value in fact.label_counts})
    odd = [fact for fact in labels if limit and max(fact.label_counts) >= limit]
    return odd if len(odd) <= MOST_STRAY * len(labels) else []


def _first_gap(values: set[int]) -> int:
    """Return the first class number that never occurs, 0 without one or without class 1."""
    present = values - {0}
    missing = {*range(1, max(values, default=0))} - values
    return min(missing) if 1 in present and len(missing) > len(present) else 0


def no_class_maps(facts: Facts, classes: int | None) -> list[Finding]:
    """Find masks with grey edges, and the few labels with stray values."""
    every = [fact for of_role in facts.values() for fact in of_role]
    others = [
        fact for of_role in sound(facts, classes).values() for fact in of_role if fact.label_counts
    ]
    grey = [fact for fact in every if fact.grey_edges]
    odd = [] if classes else stray(facts, None)  # else each of them has a problem of its own
    expected = _expected(others, classes)
    return [
        *about(
            "error",
            grey,
            "label is a mask|labels are masks",
            "with grey edges, not a map of classes (smoothed, resized or once saved as JPEG)",
            shown=_values,
            expected=expected,
            fix=f"{_without_grey(grey, others, classes)}; resample masks with nearest neighbour "
            "and never save them as JPEG",
        ),
        *about(
            "error",
            odd,
            "label has|labels have",
            "values that are no class numbers",
            shown=_values,
            expected=expected,
            fix="number the classes as in the other labels; if smoothing or antialiasing made "
            "these values, export the label again without it",
        ),
    ]


def _values(fact: CaseFacts) -> str:
    return values_in_words([*fact.label_counts])


def _expected(others: Sequence[CaseFacts], classes: int | None) -> str:
    numbers = f"0 to {classes - 1}" if classes else "0 (background), 1, 2, ..."
    if not others:
        return f"class numbers: {numbers}"
    values = sorted({value for fact in others for value in fact.label_counts})
    hold = "label holds" if len(others) == 1 else f"{len(others):,} labels hold"
    return f"class numbers: {numbers}; the other {hold} {first_few([*map(str, values)])}"


def _without_grey(
    grey: Sequence[CaseFacts], others: Sequence[CaseFacts], classes: int | None
) -> str:
    """Return how to mend masks with grey edges: a threshold fits only if there is one structure."""
    values = [value for fact in grey[:1] for value in fact.label_counts] or [0]
    it = "it" if len(grey) == 1 else "them"
    threshold = f"threshold {it}, for example label = (mask > {(min(values) + max(values)) // 2})"
    export = f"export {it} again as class numbers, without smoothing or antialiasing"
    number = max([classes or 0, *(max(fact.label_counts) + 1 for fact in others)])
    if number > 2:
        return f"{export} (a threshold would merge the {number - 1} structures)"
    if number == 2:
        return threshold
    return f"if there is one structure, {threshold}; if there are several, {export}"
