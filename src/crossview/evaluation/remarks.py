"""Notes under a comparison: what differs besides the method, and what the numbers cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crossview.evaluation import comparable
from crossview.evaluation.finished import FinishedRun

if TYPE_CHECKING:
    from crossview.evaluation.compare import Row

SIGNIFICANT = 0.05
ENOUGH_SEEDS = 3
ENOUGH_PATIENTS = 10
PROTOCOLS = {
    "equal": "Protocol equal: all methods use the same number of steps, batch, learning rate, "
    "schedule and network; notes below name exceptions.",
    "published": "Protocol published: each method has its own published steps, batch and schedule.",
}


def of_rows(rows: Sequence[Row], groups: Sequence[Sequence[FinishedRun]]) -> list[str]:
    """Return notes on the protocol, few seeds or patients, and keys in which rows differ."""
    notes = [
        text
        for protocol, text in PROTOCOLS.items()
        if any(row.protocol == protocol for row in rows)
    ]
    unknown = [row.method for row in rows if not row.protocol]
    if notes and unknown:
        notes.append(f"No protocol is recorded for runs made outside a suite: {_names(unknown)}.")
    few = [row.method for row in rows if len(row.seeds) < ENOUGH_SEEDS]
    if few:
        which = "all rows" if len(few) == len(rows) > 1 else _names(few)
        notes.append(
            f"Fewer than {ENOUGH_SEEDS} seeds, so the spread over seeds is uncertain: {which}."
        )
    fewest = min(len(set(group[0].patients)) for group in groups)
    if fewest < ENOUGH_PATIENTS:
        notes.append(
            f"Only {fewest} patients: bootstrap intervals are rough and tend to be too narrow."
        )
    for setting in dict.fromkeys(row.setting for row in rows):
        heads = [
            (row.method, group[0])
            for row, group in zip(rows, groups, strict=True)
            if row.setting == setting
        ]
        recipes = [
            {
                "steps": run.steps,
                **{k: v for k, v in run.identity.items() if not k.startswith("method.")},
            }
            for _, run in heads
        ]
        for key in comparable.differing(recipes):
            values = [
                (label, recipe[key])
                for (label, _), recipe in zip(heads, recipes, strict=True)
                if key in recipe
            ]
            if any(
                value != values[0][1] for _, value in values
            ):  # a recipe without the key does not use it, and so does not differ
                notes.append(f"The rows of {setting} differ in {key}: {_departures(values)}.")
    references = [row.method for row in rows if row.reference]
    if references:
        notes.append(
            "Reference rows were given more than the others, such as more labels. They do not "
            f"compete and have no p-value: {_names(references)}."
        )
    precisions = {run.precision for group in groups for run in group}
    if len(precisions) > 1:
        notes.append(f"Runs were trained in different precisions: {', '.join(sorted(precisions))}.")
    return notes


def of_verdicts(rows: Sequence[Row]) -> list[str]:
    """Return notes on rows with one seed, and where interval and verdict seem to disagree."""
    count = sum(row.p is not None for row in rows)
    notes = []
    single = [row.method for row in rows if row.verdict == "one seed"]
    if single:
        why = (
            "the interval covers only the chance in the patients; how far two seeds of the same "
            "method differ is unknown"
        )
        notes.append(f"No verdict where a side has one seed ({_names(single)}): {why}.")
    for row in rows:
        if row.p is None or row.verdict != "no difference shown":
            continue
        dice = row.differences["dice"]
        if dice.low <= 0 <= dice.high:
            if row.p < SIGNIFICANT:
                notes.append(
                    f"{row.method}, {row.setting}: p = {row.p:.3f}, but no difference is shown: "
                    "the interval includes 0."
                )
        else:
            corrected = (
                f"Holm's correction for the {count} comparisons in this table raises p to "
                f"{row.p:.3f}"
            )
            why = f"the interval is for one comparison alone (p = {dice.p:.3f}), and {corrected}"
            if row.p <= dice.p:
                chance = 2.0 ** (1 - row.patients)
                why = (
                    f"by chance alone, the differences of {row.patients} patients all have the "
                    f"same sign with a probability of {chance:.3f}"
                )
            notes.append(
                f"{row.method}, {row.setting}: the interval excludes 0, but no difference is "
                f"shown: {why}."
            )
    return notes


def of_runs(runs: Sequence[tuple[str, FinishedRun]]) -> list[str]:
    """Return each note of the evaluations once, with the names of its runs unless it is of all."""
    found = []
    for note in dict.fromkeys(note for _, run in runs for note in run.notes):
        having = [f"{label}, seed {run.seed}" for label, run in runs if note in run.notes]
        found.append(note if len(having) == len(runs) else f"{'; '.join(having)}: {note}")
    return found


def _departures(values: Sequence[tuple[str, object]]) -> str:
    """Return each row's value; if only few of many rows depart, theirs and the common value."""
    most = max(
        (value for _, value in values), key=lambda value: sum(other == value for _, other in values)
    )
    departing = [(label, value) for label, value in values if value != most]
    if len(values) > 3 and 2 * len(departing) < len(values):
        return f"{', '.join(f'{label} {value}' for label, value in departing)}, all others {most}"
    return ", ".join(f"{label} {value}" for label, value in values)


def _names(labels: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(labels))
