"""Notes under a comparison: what differs besides the method, and what the numbers cannot show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crossview.evaluation import comparable
from crossview.evaluation.finished import FinishedRun
from crossview.evaluation.rows import Row

SIGNIFICANT = 0.05

ENOUGH_SEEDS = 3

ENOUGH_PATIENTS = 10

PROTOCOLS = {
    "equal": "Protocol equal: all methods use the same number of steps, batch, learning rate, "
    "schedule and network; other notes name exceptions.",
    "published": "Protocol published: each method has its own published steps, batch and schedule.",
}

Group = Sequence[FinishedRun]
"""Runs of one row."""


def of_rows(rows: Sequence[Row], groups: Sequence[Group]) -> list[str]:
    """Return notes on the rows with their differences, those that decide first."""
    return [
        *_one_seed(rows),
        *_disagreements(rows),
        *_few(rows),
        *_differing_keys(rows, groups),
        *_references(rows),
        *_precisions(groups),
        *_protocols(rows),
    ]


def of_runs(runs: Sequence[tuple[Row, FinishedRun]]) -> list[str]:
    """Return each note of the evaluations once, with the names of its runs unless it is of all."""
    found = []
    for note in dict.fromkeys(note for _, run in runs for note in run.notes):
        having = [f"{row.method}, seed {run.seed}" for row, run in runs if note in run.notes]
        found.append(note if len(having) == len(runs) else f"{'; '.join(having)}: {note}")
    return found


def _one_seed(rows: Sequence[Row]) -> list[str]:
    single = [row.method for row in rows if row.verdict == "one seed"]
    if not single:
        return []
    return [
        f"No verdict where a side has one seed ({_names(single)}): the interval covers only the "
        "chance in the patients; how far two seeds of the same method differ is unknown."
    ]


def _disagreements(rows: Sequence[Row]) -> list[str]:
    """Return a note for each row whose interval and verdict seem to disagree."""
    count = sum(row.p is not None for row in rows)
    notes = []
    for row in rows:
        dice = row.difference
        if dice is None or row.p is None or row.verdict != "no difference shown":
            continue
        where = f"{row.method}, {row.setting}"
        if dice.low <= 0 <= dice.high:
            if row.p < SIGNIFICANT:
                notes.append(
                    f"{where}: p = {row.p:.3f}, but no difference is shown: the interval "
                    "includes 0."
                )
            continue
        if row.p > dice.p:
            why = (
                f"the interval is for one comparison alone (p = {dice.p:.3f}), and Holm's "
                f"correction for the {count} comparisons in this table raises p to {row.p:.3f}"
            )
        else:
            why = (
                f"by chance alone, the differences of {row.patients} patients all have the same "
                f"sign with a probability of {2.0 ** (1 - row.patients):.3f}"
            )
        notes.append(f"{where}: the interval excludes 0, but no difference is shown: {why}.")
    return notes


def _few(rows: Sequence[Row]) -> list[str]:
    """Return notes on few seeds and few patients."""
    notes = []
    few = [row.method for row in rows if len(row.seeds) < ENOUGH_SEEDS]
    if few:
        which = "all rows" if len(few) == len(rows) > 1 else _names(few)
        notes.append(
            f"Fewer than {ENOUGH_SEEDS} seeds, so the spread over seeds is uncertain: {which}."
        )
    fewest = min(row.patients for row in rows)
    if fewest < ENOUGH_PATIENTS:
        notes.append(
            f"Only {fewest} patients: bootstrap intervals are rough and tend to be too narrow."
        )
    return notes


def _differing_keys(rows: Sequence[Row], groups: Sequence[Group]) -> list[str]:
    """Return a note for each key, other than the method's, in which a setting's rows differ.

    A row without the key does not use it, and so does not differ.
    """
    notes = []
    for setting in dict.fromkeys(row.setting for row in rows):
        recipes = {
            place: {"steps": group[0].steps, **group[0].identity}
            for place, group in enumerate(groups)
            if rows[place].setting == setting
        }
        for key in comparable.differing([*recipes.values()]):
            values = [
                (rows[place].method, recipe[key])
                for place, recipe in recipes.items()
                if key in recipe
            ]
            if not key.startswith("method.") and any(each != values[0][1] for _, each in values):
                notes.append(f"The rows of {setting} differ in {key}: {_departures(values)}.")
    return notes


def _departures(values: Sequence[tuple[str, object]]) -> str:
    """Return each row's value; if only few of many rows depart, theirs and the common value."""
    most = max(
        (value for _, value in values), key=lambda value: sum(other == value for _, other in values)
    )
    departing = [(label, value) for label, value in values if value != most]
    if len(values) > 3 and 2 * len(departing) < len(values):
        return f"{', '.join(f'{label} {value}' for label, value in departing)}, all others {most}"
    return ", ".join(f"{label} {value}" for label, value in values)


def _references(rows: Sequence[Row]) -> list[str]:
    references = [row.method for row in rows if row.reference]
    if not references:
        return []
    return [
        "Reference rows were given more than the others, such as more labels. They do not "
        f"compete and have no p-value: {_names(references)}."
    ]


def _precisions(groups: Iterable[Group]) -> list[str]:
    found = sorted({run.precision for group in groups for run in group})
    if len(found) == 1:
        return []
    return [f"Runs were trained in different precisions: {', '.join(found)}."]


def _protocols(rows: Sequence[Row]) -> list[str]:
    found = {row.protocol for row in rows}
    notes = [text for protocol, text in PROTOCOLS.items() if protocol in found]
    if notes and "" in found:
        unknown = _names(row.method for row in rows if not row.protocol)
        notes.append(f"No protocol is recorded for runs made outside a suite: {unknown}.")
    return notes


def _names(labels: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(labels))
