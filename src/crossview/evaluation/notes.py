"""Notes under a comparison: what differs besides the method, and what the numbers cannot show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from crossview.core.text import count
from crossview.evaluation import comparable
from crossview.evaluation.finished import FinishedRun
from crossview.evaluation.patients import caution
from crossview.evaluation.rows import Row

SIGNIFICANT = 0.05

ENOUGH_SEEDS = 3

PROTOCOLS = {
    "equal": "Protocol equal: all methods use the same number of steps, batch, learning rate, "
    "schedule and network; other notes name exceptions.",
    "published": "Protocol published: each method has its own published steps, batch and schedule.",
}


def of_rows(rows: Sequence[Row]) -> list[str]:
    """Return notes on the rows with their differences, those that decide first."""
    return [
        *_one_seed(rows),
        *_disagreements(rows),
        *_few_seeds(rows),
        *_few_patients(rows),
        *_differing_keys(rows),
        *_references(rows),
        *_precisions(rows),
        *_protocols(rows),
    ]


def of_runs(runs: Sequence[tuple[Row, FinishedRun]]) -> list[str]:
    """Return each note of the evaluations once, with the names of its runs unless it is of all."""
    found = []
    for note in dict.fromkeys(note for _, run in runs for note in run.notes):
        having = [f"{row.method}, seed {run.seed}" for row, run in runs if note in run.notes]
        found.append(note if len(having) == len(runs) else f"{'; '.join(having)}: {note}")
    return found


def not_given(baseline: str, reason: str, labels: Sequence[str]) -> str:
    """Return why rows have no difference to the baseline."""
    return (
        f"No difference to {baseline} is given for {_names(labels)}: {reason}. The scores stand "
        "side by side."
    )


def _one_seed(rows: Sequence[Row]) -> Iterator[str]:
    single = [row.method for row in rows if row.verdict == "one seed"]
    if single:
        yield (
            f"No verdict where a side has one seed ({_names(single)}): the interval covers only "
            "the chance in the patients; how far two seeds of the same method differ is unknown."
        )


def _disagreements(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a note for each row whose interval and verdict seem to disagree."""
    compared = count(sum(row.p is not None for row in rows), "comparison")
    for row in rows:
        dice, p = row.difference, row.p
        if dice is None or p is None or row.verdict != "no difference shown":
            continue
        where, chance = f"{row.method}, {row.setting}", 2.0 ** (1 - row.patients)
        if dice.low <= 0 <= dice.high:
            if p < SIGNIFICANT:
                yield f"{where}: p = {p:.3f}, but no difference is shown: the interval includes 0."
            continue
        corrected = (
            f"the interval is for one comparison alone (p = {dice.p:.3f}), and Holm's correction "
            f"for the {compared} in this table raises p to {p:.3f}"
        )
        of_few = (
            f"by chance alone, the differences of {row.patients} patients all have the same sign "
            f"with a probability of {chance:.3f}"
        )
        why = corrected if p > dice.p else of_few
        yield f"{where}: the interval excludes 0, but no difference is shown: {why}."


def _few_seeds(rows: Sequence[Row]) -> Iterator[str]:
    few = [row.method for row in rows if len(row.seeds) < ENOUGH_SEEDS]
    if few:
        which = "all rows" if len(few) == len(rows) > 1 else _names(few)
        yield f"Fewer than {ENOUGH_SEEDS} seeds, so the spread over seeds is uncertain: {which}."


def _few_patients(rows: Sequence[Row]) -> Iterator[str]:
    if text := caution(min(row.patients for row in rows)):
        yield text


def _differing_keys(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a note for each key, other than the method's, in which a setting's rows differ.

    A row without the key does not use it, and so does not differ. A key that every row's label
    has needs no note.
    """
    for setting in dict.fromkeys(row.setting for row in rows):
        recipes = [
            (row.method, {"steps": row.steps, **row.runs[0].identity})
            for row in rows
            if row.setting == setting
        ]
        for key in comparable.differing([recipe for _, recipe in recipes]):
            values = [(method, recipe[key]) for method, recipe in recipes if key in recipe]
            told = all(f" {key}=" in method for method, _ in values)
            if key.startswith("method.") or told:
                continue
            if any(each != values[0][1] for _, each in values):
                yield f"The rows of {setting} differ in {key}: {_departures(values)}."


def _departures(values: Sequence[tuple[str, object]]) -> str:
    """Return each row's value; if only few of many rows depart, theirs and the common value."""
    most = max(
        (value for _, value in values), key=lambda value: sum(other == value for _, other in values)
    )
    departing = [(label, value) for label, value in values if value != most]
    if len(values) > 3 and 2 * len(departing) < len(values):
        return f"{', '.join(f'{label} {value}' for label, value in departing)}, all others {most}"
    return ", ".join(f"{label} {value}" for label, value in values)


def _references(rows: Sequence[Row]) -> Iterator[str]:
    references = [row.method for row in rows if row.reference]
    if references:
        yield (
            "Reference rows were given more than the others, such as more labels. They do not "
            f"compete and have no p-value: {_names(references)}."
        )


def _precisions(rows: Sequence[Row]) -> Iterator[str]:
    found = sorted({run.precision for row in rows for run in row.runs})
    if len(found) > 1:
        yield f"Runs were trained in different precisions: {', '.join(found)}."


def _protocols(rows: Sequence[Row]) -> Iterator[str]:
    found = {row.protocol for row in rows}
    yield from (text for protocol, text in PROTOCOLS.items() if protocol in found)
    unknown = [row.method for row in rows if not row.protocol]
    if unknown and len(found) > 1:
        yield f"No protocol is recorded for runs made outside a suite: {_names(unknown)}."


def _names(labels: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(labels))
