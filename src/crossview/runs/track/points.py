"""A run's numbers over its steps, from its journal and evaluations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crossview.core.journal import Row
from crossview.core.run_folder import EvaluationFolder, RunFolder
from crossview.core.text import number, table

STEP = ("loss", "learning_rate", "samples_per_second", "data_wait")
"""Numbers of a step's row that have no group of their own."""

METRICS = ("dice", "jaccard", "hd95", "asd")

UNUSUAL = re.compile(r"[^\w.\- :]", re.ASCII)
"""Characters that MLflow refuses in a name, and the slash, which parts groups."""


@dataclass(frozen=True)
class Point:
    """One number of a run.

    Attributes:
        name: Its group and name, such as "validation/dice mean".
        step: Optimiser steps done since the run began.
        time: Seconds since 1970.
    """

    name: str
    step: int
    time: float
    value: float


def started(run: RunFolder) -> float:
    """Return when a run began, in seconds since 1970; 0 if it is not known."""
    try:
        return datetime.fromisoformat(str(run.environment.get("started"))).timestamp()
    except ValueError:
        return 0.0


def points(run: RunFolder) -> Iterator[Point]:
    """Yield the numbers of the journal in its order, then the scores of evaluations.

    Numbers that are missing or not finite are left out. Raises UserError for a damaged evaluation.
    """
    begun, seconds, last = started(run), 0.0, 0
    classes = _names(run.environment.get("class_names", ()))
    for row in run.journal.rows:
        seconds = number(row.get("seconds")) or seconds
        last = int(number(row.get("total_step")) or last)
        for name, value in _of_row(row, classes):
            if (found := number(value)) is not None:
                yield Point(_clean(name), last, begun + seconds, found)
    for folder in run.evaluations:
        for name, step, value in _of_scores(folder, classes):
            if (found := number(value)) is not None:
                yield Point(_clean(name), int(number(step) or last), begun + seconds, found)


def _of_row(row: Row, classes: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Yield the numbers of a row of the journal by name."""
    kind = row.get("kind")
    if kind == "step":
        yield from ((f"training/{name}", row.get(name)) for name in STEP)
        for group in ("terms", "health"):
            yield from ((f"{group}/{name}", value) for name, value in table(row.get(group)).items())
    elif kind == "validation":
        group = str(row.get("on", "validation"))
        yield from _dice(f"{group}/dice", row, classes)
        for view, scores in table(row.get("views")).items():
            yield from _dice(f"{group} {view}/dice", scores, classes)
    elif kind == "readiness":
        for view, scores in table(row.get("dice")).items():
            yield from _dice(f"readiness {view}/dice", {"classes": scores}, classes)


def _dice(name: str, scores: Any, classes: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Yield the Dice of the mean and of each class."""
    found = table(scores)
    yield f"{name} mean", found.get("mean")
    of_classes = found.get("classes", found)
    for number_of_class, value in table(of_classes).items():
        if number_of_class in classes:
            yield f"{name} {classes[number_of_class]}", value


def _of_scores(
    folder: EvaluationFolder, classes: Mapping[str, str]
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the mean scores of an evaluation: name, step, value."""
    summary = folder.summary()
    rows = {classes.get(key, key): value for key, value in table(summary.get("classes")).items()}
    for who, scores in {"mean": summary.get("mean"), **rows}.items():
        for metric in METRICS:
            mean = table(table(scores).get(metric)).get("mean")
            yield f"{folder.split} scores/{metric} {who}", summary.get("step"), mean


def _names(names: Sequence[Any]) -> dict[str, str]:
    """Return the names of foreground classes by their number, no two alike."""
    cleaned = {str(place): UNUSUAL.sub("_", str(name)) for place, name in enumerate(names) if place}
    alike = len({"mean", *cleaned.values()}) <= len(cleaned)
    return {place: f"{place} {name}" if alike else name for place, name in cleaned.items()}


def _clean(name: str) -> str:
    """Return a name of one group at most, of characters that every program takes."""
    group, _, rest = name.partition("/")
    return f"{UNUSUAL.sub('_', group)}/{UNUSUAL.sub('_', rest)}"
