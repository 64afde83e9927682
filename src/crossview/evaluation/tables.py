"""A comparison as text: Markdown, CSV, and a table for the terminal. Overlaps in percent but for the CSV, which has fractions."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from crossview.evaluation.bootstrap import interval
from crossview.evaluation.compare import Comparison, Row, Spread
from crossview.evaluation.scores import convention

if TYPE_CHECKING:
    from rich.table import Table

NAMES = {"dice": "Dice", "jaccard": "Jaccard", "hd95": "95HD", "asd": "ASD"}
PERCENT = ("dice", "jaccard")
CSV_COLUMNS = ("method", "setting", "seed", "steps", "dice", "jaccard", "hd95", "asd", "ci_low", "ci_high", "selection")


def runs_csv(comparison: Comparison) -> str:
    """One row a run, in the order given; ci_low and ci_high are of the mean Dice, over patients. What is not defined stays empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for label, run in comparison.runs:
        means = [_cell(run.mean(metric)) for metric in NAMES]
        ci95 = interval(run.values["dice"], run.patients) or (math.nan, math.nan)
        writer.writerow([label, run.setting, run.seed, run.steps, *means, *map(_cell, ci95), run.selection])
    return text.getvalue()


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def markdown(comparison: Comparison) -> str:
    """The table of rows, one of classes where there are several, the notes and the convention."""
    parts = [_markdown_table(header(comparison), [cells(row) for row in comparison.rows])]
    if any(len(row.classes) > 1 for row in comparison.rows):
        lines = [
            [row.method, row.setting, name, *(_spread(metrics[metric], metric) for metric in NAMES)]
            for row in comparison.rows
            for name, metrics in row.classes.items()
        ]
        parts.append(_markdown_table(["Method", "Setting", "Class", *_metric_names(comparison)], lines))
    parts.append("\n".join(f"- {_escape(note)}" for note in footnotes(comparison)))
    return "\n\n".join(parts) + "\n"


def terminal(comparison: Comparison) -> Table:
    """The table of rows with the notes under it, made for 100 columns: what is the same in every row stands in the title."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    columns = dict(zip(header(comparison), zip(*(cells(row, "\n") for row in comparison.rows), strict=True), strict=True))
    del columns["Training"]
    same = [name for name in ("Setting", "Steps", "Empty", "Selection") if len(set(columns[name])) == 1]
    title = ", ".join([f"{comparison.split} cases", *(f"{name.lower()} {columns.pop(name)[0]}" for name in same)])
    metric_names = _metric_names(comparison)
    notes = "\n".join(escape(note) for note in [meaning(comparison), *comparison.notes])
    table = Table(title=escape(title), title_justify="left", caption=notes, caption_justify="left", box=box.SIMPLE, padding=0)
    for name in columns:
        lines = name.replace(" (", "\n(").replace("against ", "against\n")
        table.add_column(escape(lines), no_wrap=name in metric_names, min_width=15 if "against" in name else None)
    for line in zip(*columns.values(), strict=True):
        table.add_row(*map(escape, line))
    return table


def header(comparison: Comparison) -> list[str]:
    """The names of the columns of :func:`cells`."""
    against = f"Dice against {comparison.baseline}" if comparison.baseline else "Difference"
    return ["Method", "Setting", "Seeds", "Steps", *_metric_names(comparison), against, "Empty", "Selection", "Training"]


def cells(row: Row, before_interval: str = " ") -> list[str]:
    """A row of the table as text."""
    metrics = [_spread(row.metrics[metric], metric, before_interval) for metric in NAMES]
    counts = ", ".join(f"{kind.replace('_', ' ')} {count} of {row.predictions}" for kind, count in row.empty.items())
    policy = row.selection if row.selection == "last" else f"{row.selection} ({row.checkpoint})"
    head = [row.method, row.setting, str(len(row.seeds)), f"{row.steps:,}"]
    return [*head, *metrics, _difference(row, before_interval), counts or "none", policy, duration(row.seconds)]


def meaning(comparison: Comparison) -> str:
    """What the cells hold."""
    text = "Mean ± SD over seeds [95% interval over patients, seeds averaged within a case]; Dice and Jaccard in percent."
    if comparison.baseline:
        text += f" Differences to {comparison.baseline}: paired bootstrap over patients, p-values after Holm."
    return text


def footnotes(comparison: Comparison) -> list[str]:
    """What the numbers mean, the convention of the scores, and the notes."""
    units = dict.fromkeys(row.unit for row in comparison.rows)
    return [meaning(comparison), *(convention(unit) for unit in units), *comparison.notes]


def duration(seconds: float) -> str:
    """Seconds as people say them: "42 s", "17 min", "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _metric_names(comparison: Comparison) -> list[str]:
    unit = ", ".join(dict.fromkeys(row.unit for row in comparison.rows))
    return [f"{name} (%)" if metric in PERCENT else f"{name} ({unit})" for metric, name in NAMES.items()]


def _spread(spread: Spread, metric: str, before_interval: str = " ") -> str:
    if math.isnan(spread.mean):
        return "not defined"
    scale = 100 if metric in PERCENT else 1
    sd = "" if spread.sd is None else f" ± {scale * spread.sd:.2f}"
    ci95 = "" if spread.ci95 is None else f"{before_interval}[{scale * spread.ci95[0]:.2f}, {scale * spread.ci95[1]:.2f}]"
    return f"{scale * spread.mean:.2f}{sd}{ci95}"


def _difference(row: Row, before_interval: str) -> str:
    if row.is_baseline:
        return "baseline"
    dice = row.differences.get("dice")
    if dice is None or row.p is None:
        return ""
    interval95 = f"[{100 * dice.low:+.2f}, {100 * dice.high:+.2f}]"
    return f"{100 * dice.mean:+.2f}{before_interval}{interval95}{before_interval}{row.verdict},{before_interval}p {_p(row.p)}"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _markdown_table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [names, ["---"] * len(names), *lines]
    return "\n".join("| " + " | ".join(_escape(cell) for cell in row) + " |" for row in rows)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
