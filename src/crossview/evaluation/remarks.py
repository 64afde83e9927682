"""What stands under a comparison: in what its rows differ beside the method, and what its numbers can't show."""

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
    "equal": "Protocol equal: the same number of steps, batch, learning rate, schedule and network for all, but for what is named here.",
    "published": "Protocol published: every method has its own published steps, batch and schedule.",
}


def of_rows(rows: Sequence[Row], groups: Sequence[Sequence[FinishedRun]]) -> list[str]:
    """The protocol, what is few, and in what the rows of a setting differ beside the keys of their methods."""
    notes = [
        text
        for protocol, text in PROTOCOLS.items()
        if any(row.protocol == protocol for row in rows)
    ]
    unknown = [row.method for row in rows if not row.protocol]
    if notes and unknown:
        notes.append(f"No protocol is recorded of runs that no suite made: {_names(unknown)}.")
    few = [row.method for row in rows if len(row.seeds) < ENOUGH_SEEDS]
    if few:
        which = "all rows" if len(few) == len(rows) > 1 else _names(few)
        notes.append(
            f"Fewer than {ENOUGH_SEEDS} seeds, so little is known of the spread over seeds: {which}."
        )
    fewest = min(len(set(group[0].patients)) for group in groups)
    if fewest < ENOUGH_PATIENTS:
        notes.append(
            f"Only {fewest} patients: bootstrap intervals of so few are rough, and rather too narrow."
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
            ):  # a key that a run has no use for is none of its recipe
                notes.append(f"The rows of {setting} differ in {key}: {_departures(values)}.")
    references = [row.method for row in rows if row.reference]
    if references:
        notes.append(
            f"A reference, given more than the others and no competitor, so without a p-value: {_names(references)}."
        )
    precisions = {run.precision for group in groups for run in group}
    if len(precisions) > 1:
        notes.append(f"Trained in different precisions: {', '.join(sorted(precisions))}.")
    return notes


def of_verdicts(rows: Sequence[Row]) -> list[str]:
    """Why nothing is claimed of a row whose interval alone would have one believe otherwise, and the reverse."""
    count = sum(row.p is not None for row in rows)
    notes = []
    single = [row.method for row in rows if row.verdict == "one seed"]
    if single:
        why = "its interval is over patients alone, and two seeds of one method differ too, nobody knows by how much"
        notes.append(f"No verdict where a side has one seed ({_names(single)}): {why}.")
    for row in rows:
        if row.p is None or row.verdict != "no difference shown":
            continue
        dice = row.differences["dice"]
        if dice.low <= 0 <= dice.high:
            if row.p < SIGNIFICANT:
                notes.append(
                    f"{row.method}, {row.setting}: p is {row.p:.3f}, and yet no difference is shown: the interval reaches 0."
                )
        else:
            corrected = (
                f"Holm's correction for the {count} comparisons of this table makes it {row.p:.3f}"
            )
            why = f"it is for one comparison taken alone (p = {dice.p:.3f}), and {corrected}"
            if row.p <= dice.p:
                chance = 2.0 ** (1 - row.patients)
                why = f"all differences of {row.patients} patients have one sign by chance with a probability of {chance:.3f}"
            notes.append(
                f"{row.method}, {row.setting}: the interval leaves out 0, and yet no difference is shown: {why}."
            )
    return notes


def of_runs(runs: Sequence[tuple[str, FinishedRun]]) -> list[str]:
    """The notes of the evaluations, each once; with the runs' names where not all have it."""
    found = []
    for note in dict.fromkeys(note for _, run in runs for note in run.notes):
        having = [f"{label}, seed {run.seed}" for label, run in runs if note in run.notes]
        found.append(note if len(having) == len(runs) else f"{'; '.join(having)}: {note}")
    return found


def _departures(values: Sequence[tuple[str, object]]) -> str:
    """Each row's value; of many rows that agree but for few, these few."""
    most = max(
        (value for _, value in values), key=lambda value: sum(other == value for _, other in values)
    )
    departing = [(label, value) for label, value in values if value != most]
    if len(values) > 3 and 2 * len(departing) < len(values):
        return f"{', '.join(f'{label} {value}' for label, value in departing)}, all others {most}"
    return ", ".join(f"{label} {value}" for label, value in values)


def _names(labels: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(labels))
