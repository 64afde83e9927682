"""Comparison as text: Markdown and CSV, and the cells of both tables.

Overlaps are in percent, except in the CSV, which has fractions.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from crossview.evaluation.bootstrap import interval, p_text
from crossview.evaluation.comparable import row_of
from crossview.evaluation.compare import Comparison, Row, Spread
from crossview.evaluation.scores import convention

NAMES = {"dice": "Dice", "jaccard": "Jaccard", "hd95": "HD95", "asd": "ASD"}
PERCENT = ("dice", "jaccard")
UNKNOWN = "not recorded"
"""Protocol of a run made outside a suite."""
EMPTY = ("missed", "spurious", "both_empty")
DIFFERENCE = ("baseline", "difference", "difference_low", "difference_high", "p", "verdict")
CSV_COLUMNS = (
    *(
        "method",
        "setting",
        "seed",
        "steps",
        "dice",
        "jaccard",
        "hd95",
        "asd",
        "ci_low",
        "ci_high",
        "selection",
    ),
    *("protocol", "seconds", "predictions", *EMPTY, *DIFFERENCE),
)


def runs_csv(comparison: Comparison) -> str:
    """Return one line per run, in the order given; undefined values stay empty.

    ci_low and ci_high are the interval of the run's mean Dice over patients. predictions, missed,
    spurious and both_empty count its cases x classes. The columns from baseline to verdict hold the
    Dice difference of its method in its setting over all seeds, the same in each line of a row.
    """
    rows = {
        (row.method, row.setting, row.selection, row.checkpoint, row.protocol): row
        for row in comparison.rows
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for label, run in comparison.runs:
        means = [_cell(run.mean(metric)) for metric in NAMES]
        ci95 = interval(run.values["dice"], run.patients) or (math.nan, math.nan)
        empty = [run.empty.get(kind, 0) for kind in EMPTY]
        own = [run.protocol, f"{run.seconds:.1f}", run.values["dice"].size, *empty]
        difference = _difference_cells(rows[label, *row_of(run)], comparison.baseline)
        writer.writerow(
            [
                label,
                run.setting,
                run.seed,
                run.steps,
                *means,
                *map(_cell, ci95),
                run.selection,
                *own,
                *difference,
            ]
        )
    return text.getvalue()


def _difference_cells(row: Row, baseline: str | None) -> list[str]:
    """Return the cells of DIFFERENCE; empty for the baseline and where nothing is compared."""
    dice = row.differences.get("dice")
    if dice is None:
        return [""] * len(DIFFERENCE)
    p = "" if row.p is None else f"{row.p:.6f}"
    return [baseline or "", *map(_cell, (dice.mean, dice.low, dice.high)), p, row.verdict]


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def markdown(comparison: Comparison) -> str:
    """Return the table of rows, a table of classes if there are several, and the footnotes."""
    names, lines = header(comparison), [cells(row) for row in comparison.rows]
    if len({row.protocol for row in comparison.rows}) == 1:
        column = names.index("Protocol")
        for line in (names, *lines):
            del line[column]
    parts = [_markdown_table(names, lines)]
    if any(len(row.classes) > 1 for row in comparison.rows):
        lines = [
            [
                row.method,
                row.setting,
                name,
                *(spread_text(metrics[metric], metric) for metric in NAMES),
            ]
            for row in comparison.rows
            for name, metrics in row.classes.items()
        ]
        parts.append(
            _markdown_table(["Method", "Setting", "Class", *metric_names(comparison)], lines)
        )
    parts.append("\n".join(f"- {_escape(note)}" for note in footnotes(comparison)))
    return "\n\n".join(parts) + "\n"


def header(comparison: Comparison) -> list[str]:
    """Return the column names of :func:`cells`."""
    against = f"Dice against {comparison.baseline}" if comparison.baseline else "Difference"
    return [
        "Method",
        "Setting",
        "Protocol",
        "Seeds",
        "Steps",
        *metric_names(comparison),
        against,
        "Empty",
        "Selection",
        "Training",
    ]


def cells(row: Row, before_interval: str = " ") -> list[str]:
    """Return a row of the table as text."""
    metrics = [spread_text(row.metrics[metric], metric, before_interval) for metric in NAMES]
    counts = ", ".join(
        f"{kind.replace('_', ' ')} {count} of {row.predictions}"
        for kind, count in row.empty.items()
    )
    policy = row.selection if row.selection == "last" else f"{row.selection} ({row.checkpoint})"
    head = [row.method, row.setting, row.protocol or UNKNOWN, str(len(row.seeds)), f"{row.steps:,}"]
    return [
        *head,
        *metrics,
        difference_text(row, before_interval),
        counts or "none",
        policy,
        duration(row.seconds),
    ]


def meaning(comparison: Comparison) -> list[str]:
    """Return sentences that explain the cells."""
    text = (
        "Mean ± SD over seeds [95% interval over patients, with seeds averaged within a case]. "
        "Dice and Jaccard in percent."
    )
    if comparison.baseline:
        how = (
            "paired bootstrap over patients, with the chance in the seeds if both rows have several"
        )
        text += f" Differences to {comparison.baseline}: {how}; Holm-corrected p-values."
    if not any(spread.left_out for row in comparison.rows for spread in row.metrics.values()):
        return [text]
    return [
        text,
        "Left out: predictions without a distance, because they or the truth are empty. "
        "If both are empty, they are left out of Dice and Jaccard too.",
    ]


def footnotes(comparison: Comparison) -> list[str]:
    """Return the meaning of the numbers, the convention of the scores, and the notes."""
    units = dict.fromkeys(row.unit for row in comparison.rows)
    return [*meaning(comparison), *(convention(unit) for unit in units), *comparison.notes]


def duration(seconds: float) -> str:
    """Return seconds in words, as in "42 s", "17 min" and "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def metric_names(comparison: Comparison) -> list[str]:
    """Return the names of the metrics' columns, with their units."""
    unit = ", ".join(dict.fromkeys(row.unit for row in comparison.rows))
    return [
        f"{name} (%)" if metric in PERCENT else f"{name} ({unit})" for metric, name in NAMES.items()
    ]


def spread_text(spread: Spread, metric: str, before_interval: str = " ") -> str:
    """Return "85.60 ± 0.84 [71.71, 95.32]", and the number of predictions left out of it."""
    left_out = f"{before_interval}{spread.left_out} left out" if spread.left_out else ""
    if math.isnan(spread.mean):
        return f"not defined{left_out}"
    scale = 100 if metric in PERCENT else 1
    sd = "" if spread.sd is None else f" ± {scale * spread.sd:.2f}"
    ci95 = (
        ""
        if spread.ci95 is None
        else f"{before_interval}[{scale * spread.ci95[0]:.2f}, {scale * spread.ci95[1]:.2f}]"
    )
    return f"{scale * spread.mean:.2f}{sd}{ci95}{left_out}"


def difference_text(row: Row, before_interval: str = " ") -> str:
    """Return "+6.14 [+0.39, +15.02] better, p = 0.026".

    For the baseline itself: "baseline". Where nothing is compared: "".
    """
    if row.is_baseline:
        return "baseline"
    dice = row.differences.get("dice")
    if dice is None:
        return ""
    verdict = row.verdict if row.p is None else f"{row.verdict}, {p_text(row.p)}"
    return before_interval.join(
        [f"{100 * dice.mean:+.2f}", f"[{100 * dice.low:+.2f}, {100 * dice.high:+.2f}]", verdict]
    )


def _markdown_table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [names, ["---"] * len(names), *lines]
    return "\n".join("| " + " | ".join(_escape(cell) for cell in row) + " |" for row in rows)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
