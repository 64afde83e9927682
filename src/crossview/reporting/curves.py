"""Charts of the journal: Dice during training, loss terms, learning rate, network health."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

from crossview.core.run_folder import Row
from crossview.core.text import number
from crossview.reporting.content import RunContent
from crossview.reporting.svg import Chart, Point, Series, line_chart
from crossview.reporting.verdict import is_idle
from crossview.reporting.words import table

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
    told = {
        str(index): str(name) for index, name in enumerate(run.environment.get("class_names") or [])
    }
    names = next((evaluation.classes for evaluation in run.evaluations if evaluation.classes), told)
    charts = [
        draw(title, series, limits=_dice_limits(series), show=_percent)
        for title, series in _validation(run, names)
    ]
    terms = _lines(steps, "terms")
    total = Series("loss", _points(steps, lambda row: row.get("loss")), 8, dashed=True)
    losses = [line for line in ([total] if len(terms) != 1 else []) + terms if line.points]
    if losses:
        charts.append(draw("Loss and its weighted terms", losses))
    health = _lines(steps, "health")
    if health:
        charts.append(draw("Network health", health))
    rate = _points(steps, lambda row: row.get("learning_rate"))
    positive = [y for _, y in rate if y > 0]
    if positive:
        charts.append(
            draw(
                "Learning rate",
                [Series("learning rate", rate)],
                log=max(positive) > 20 * median(positive),
            )
        )
    return charts


def _validation(run: RunContent, names: Mapping[str, str]) -> list[tuple[str, list[Series]]]:
    """Return (title, lines) of the charts of Dice in training.

    The first has the mean, and each view dashed. The second has each class, if there are several.
    """
    rows = run.journal.of("validation")
    classes = list(dict.fromkeys(index for row in rows for index in table(row.get("classes"))))
    views = list(dict.fromkeys(name for row in rows for name in table(row.get("views"))))
    mean = Series("mean", _points(rows, lambda row: row.get("mean")), 1)

    def taking_part(view: str) -> list[Row]:
        return [row for row in rows if not is_idle(view, str(row.get("stage")), run)]

    by_view = [
        Series(
            name,
            _points(
                taking_part(name),
                lambda row, name=name: table(  # type: ignore[misc]
                    table(row.get("views")).get(name)
                ).get("mean"),
            ),
            colour,
            True,
        )
        for colour, name in enumerate(views[: MOST_LINES - 1], 2)
        if taking_part(name)
    ]
    by_class = [
        Series(
            names.get(index, f"class {index}"),
            _points(
                rows,
                lambda row, index=index: table(row.get("classes")).get(index),  # type: ignore[misc]
            ),
            colour,
        )
        for colour, index in enumerate(classes[: MOST_LINES - 1], 2)
    ]
    if not mean.points:
        return []
    title = f"{run.scored_in_training.capitalize()} Dice in %"
    charts = [(f"{title}, mean and each view" if len(by_view) > 1 else title, [mean, *by_view])]
    return charts + ([(f"{title}, each class", [mean, *by_class])] if len(by_class) > 1 else [])


def _dice_limits(series: list[Series]) -> tuple[float, float]:
    values = [y for line in series for _, y in line.points]
    low = 0.1 * int(10 * min(values))
    return (low, 1.0) if low < 0.9 else (0.8, 1.0)


def _percent(value: float) -> str:
    return f"{100 * value:.4g}"


def _lines(steps: list[Row], key: str) -> list[Series]:
    """Return one line per name under a key of the step rows."""
    names = list(dict.fromkeys(name for row in steps for name in table(row.get(key))))
    return [
        Series(name, _points(steps, lambda row, name=name: table(row.get(key)).get(name)), colour)  # type: ignore[misc]
        for colour, name in enumerate(names[:MOST_LINES], 1)
    ]


def _points(rows: list[Row], value: Callable[[Row], Any]) -> list[Point]:
    """Return (total step, value) of the rows that have both."""
    found = ((number(row.get("total_step")), number(value(row))) for row in rows)
    return [(x, y) for x, y in found if x is not None and y is not None]


def speed_sentence(run: RunContent) -> str:
    """Return a sentence on the speed of training and the share of time spent waiting for data."""
    steps = run.journal.of("step")
    speeds = [
        found for row in steps if (found := number(row.get("samples_per_second"))) is not None
    ]
    waits = [found for row in steps if (found := number(row.get("data_wait"))) is not None]
    if not speeds:
        return ""
    waiting = (
        f", with {100 * sum(waits) / len(waits):.1f} % of the time spent waiting for data"
        if waits
        else ""
    )
    return f"{median(speeds):.1f} samples per second (median){waiting}."
