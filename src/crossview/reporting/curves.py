"""Charts of the journal: Dice during training, loss terms, learning rate, network health."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from statistics import median
from typing import Any

from crossview.core.journal import Row
from crossview.core.text import array, number, table
from crossview.reporting.content import RunContent
from crossview.reporting.svg import Chart, Point, Series, line_chart
from crossview.reporting.verdict import is_idle

MOST_LINES = 8
"""Number of distinguishable colours."""


def training_charts(run: RunContent) -> list[Chart]:
    """Return the charts that the journal allows, with stages marked; none before the first step."""
    steps, stages = run.journal.of("step"), run.journal.of("stage")
    boundaries = [
        (float(number(row.get("total_step")) or 0), str(row.get("stage", "")))
        for row in stages
        if number(row.get("steps"))
    ]
    draw = partial(line_chart, boundaries=boundaries, last=float(run.journal.total_step))
    charts = [
        draw(title, series, limits=_dice_limits(series), show=_percent)
        for title, series in _validation(run)
    ]
    terms = _lines(steps, "terms")
    total = Series("loss", _points(steps, "loss"), 8, dashed=True)
    losses = [line for line in ([total] if len(terms) != 1 else []) + terms if line.points]
    if losses:
        charts.append(draw("Loss and its weighted terms", losses))
    health = _lines(steps, "health")
    if health:
        charts.append(draw("Network health", health))
    rate = _points(steps, "learning_rate")
    positive = [y for _, y in rate if y > 0]
    if positive:
        log = max(positive) > 20 * median(positive)
        charts.append(draw("Learning rate", [Series("learning rate", rate)], log=log))
    return charts


def _validation(run: RunContent) -> list[tuple[str, list[Series]]]:
    """Return (title, lines) of the charts of Dice in training.

    The first has the mean, and each view dashed. The second has each class, if there are several.
    """
    rows = run.journal.of("validation")
    mean = Series("mean", _points(rows, "mean"), 1)
    if not mean.points:
        return []
    by_view = []
    for colour, view in enumerate(_names(rows, "views")[: MOST_LINES - 1], 2):
        taking_part = [row for row in rows if not is_idle(view, str(row.get("stage")), run)]
        if taking_part:
            points = _points(taking_part, "views", view, "mean")
            by_view.append(Series(view, points, colour, dashed=True))
    names = _class_names(run)
    by_class = [
        Series(names.get(index, f"class {index}"), _points(rows, "classes", index), colour)
        for colour, index in enumerate(_names(rows, "classes")[: MOST_LINES - 1], 2)
    ]
    title = f"{run.scored_in_training.capitalize()} Dice in %"
    charts = [(f"{title}, mean and each view" if len(by_view) > 1 else title, [mean, *by_view])]
    return charts + ([(f"{title}, each class", [mean, *by_class])] if len(by_class) > 1 else [])


def _class_names(run: RunContent) -> Mapping[str, str]:
    """Return the names of the classes as evaluated, or as recorded before training."""
    environment = run.environment
    recorded = enumerate(array(environment.get("scored_names") or environment.get("class_names")))
    return next(
        (evaluation.classes for evaluation in run.evaluations if evaluation.classes),
        {str(index): str(name) for index, name in recorded},
    )


def _dice_limits(series: list[Series]) -> tuple[float, float]:
    values = [y for line in series for _, y in line.points]
    low = 0.1 * int(10 * min(values))
    return (low, 1.0) if low < 0.9 else (0.8, 1.0)


def _percent(value: float) -> str:
    return f"{100 * value:.4g}"


def _lines(steps: list[Row], key: str) -> list[Series]:
    """Return one line per name under a key of the step rows."""
    return [
        Series(name, _points(steps, key, name), colour)
        for colour, name in enumerate(_names(steps, key)[:MOST_LINES], 1)
    ]


def _names(rows: list[Row], key: str) -> list[str]:
    """Return the names under a key of the rows, in the order in which they appear."""
    return list(dict.fromkeys(name for row in rows for name in table(row.get(key))))


def _points(rows: list[Row], *keys: str) -> list[Point]:
    """Return (total step, value under the keys) of the rows that have both."""
    points = []
    for row in rows:
        value: Any = row
        for key in keys:
            value = table(value).get(key)
        x, y = number(row.get("total_step")), number(value)
        if x is not None and y is not None:
            points.append((x, y))
    return points


def speed_sentence(run: RunContent) -> str:
    """Return a sentence on the speed of training and the share of time spent waiting for data."""
    steps = run.journal.of("step")
    speeds = [speed for _, speed in _points(steps, "samples_per_second")]
    waits = [share for _, share in _points(steps, "data_wait")]
    if not speeds:
        return ""
    waiting = (
        f", with {100 * sum(waits) / len(waits):.1f} % of the time spent waiting for data"
        if waits
        else ""
    )
    return f"{median(speeds):.1f} samples per second (median){waiting}."
