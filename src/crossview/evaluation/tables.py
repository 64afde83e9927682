"""Comparison as Markdown and CSV, and the texts that tables share.

Overlaps are in percent, except in the CSV, which has fractions.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from crossview.core.text import duration
from crossview.evaluation.bootstrap import interval, p_text
from crossview.evaluation.finished import FinishedRun
from crossview.evaluation.rows import Row, Spread
from crossview.evaluation.summary import convention

NAMES = {"dice": "Dice", "jaccard": "Jaccard", "hd95": "HD95", "asd": "ASD"}

PERCENT = ("dice", "jaccard")

EMPTY = ("missed", "spurious", "both_empty")

NOT_GIVEN = "not given"
"""Cell of a difference to a row that differs in more than the method; a note says why."""

LEFT_OUT = (
    "Left out: predictions without a distance, because they or the truth are empty. "
    "If both are empty, they are left out of Dice and Jaccard too."
)


def runs_csv(runs: Iterable[tuple[Row, FinishedRun]], baseline: str | None) -> str:
    """Return one line per run, in the order given; undefined values stay empty.

    ci_low and ci_high are the interval of the run's mean Dice over patients. predictions, missed,
    spurious and both_empty count its cases x classes. The columns from baseline to verdict hold the
    Dice difference of its method in its setting over all seeds, the same in each line of a row.
    """
    lines = [
        {**_run_cells(run, row.method), **_difference_cells(row, baseline)} for row, run in runs
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*lines[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _run_cells(run: FinishedRun, label: str) -> dict[str, object]:
    dice = run.values["dice"]
    low, high = interval(dice, run.patients) or (math.nan, math.nan)
    return {
        "method": label,
        "setting": run.setting,
        "seed": run.seed,
        "steps": run.steps,
        **{metric: _fraction(run.mean(metric)) for metric in NAMES},
        "ci_low": _fraction(low),
        "ci_high": _fraction(high),
        "selection": run.selection,
        "protocol": run.protocol,
        "seconds": f"{run.seconds:.1f}",
        "predictions": dice.size,
        **{kind: run.empty.get(kind, 0) for kind in EMPTY},
    }


def _difference_cells(row: Row, baseline: str | None) -> dict[str, str]:
    """Return the cells of the difference; empty for the baseline and where nothing is compared."""
    dice = row.difference
    return {
        "baseline": baseline or "" if dice else "",
        "difference": _fraction(dice.mean) if dice else "",
        "difference_low": _fraction(dice.low) if dice else "",
        "difference_high": _fraction(dice.high) if dice else "",
        "p": "" if row.p is None else f"{row.p:.6f}",
        "verdict": row.verdict or ("" if row.is_baseline or dice else NOT_GIVEN),
    }


def _fraction(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def markdown(rows: Sequence[Row], baseline: str | None, notes: Sequence[str]) -> str:
    """Return the table of rows, a table of classes if there are several, and the notes."""
    metrics = metric_names(rows)
    columns = {
        "Method": [row.method for row in rows],
        "Setting": [row.setting for row in rows],
        "Protocol": [row.protocol or "not recorded" for row in rows],
        "Seeds": [str(len(row.seeds)) for row in rows],
        "Steps": [f"{row.steps:,}" for row in rows],
        **{
            heading: [" ".join(spread_parts(row.metrics[metric], metric)) for row in rows]
            for metric, heading in metrics.items()
        },
        f"Dice against {baseline}" if baseline else "Difference": [
            " ".join(difference_parts(row)) for row in rows
        ],
        "Empty": [", ".join(empty_parts(row)) for row in rows],
        "Selection": [_selection(row) for row in rows],
        "Training": [duration(row.seconds) for row in rows],
    }
    if len(set(columns["Protocol"])) == 1:
        del columns["Protocol"]
    parts = [_markdown_table([*columns], zip(*columns.values(), strict=True))]
    if any(len(row.classes) > 1 for row in rows):
        lines = [
            [row.method, row.setting, name]
            + [" ".join(spread_parts(spreads[metric], metric)) for metric in metrics]
            for row in rows
            for name, spreads in row.classes.items()
        ]
        parts.append(_markdown_table(["Method", "Setting", "Class", *metrics.values()], lines))
    below = [meaning(rows, baseline), *left_out(rows)]
    below += [convention(unit) for unit in dict.fromkeys(row.unit for row in rows)]
    parts.append("\n".join(f"- {_escape(note)}" for note in [*below, *notes]))
    return "\n\n".join(parts) + "\n"


def empty_parts(row: Row) -> list[str]:
    """Return "missed 3 of 40" for each kind of empty mask, ["none"] for none."""
    return [
        f"{kind.replace('_', ' ')} {count} of {row.predictions}"
        for kind, count in row.empty.items()
    ] or ["none"]


def _selection(row: Row) -> str:
    return row.selection if row.selection == "last" else f"{row.selection} ({row.checkpoint})"


def _markdown_table(names: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [names, ["---"] * len(names), *lines]
    return "\n".join("| " + " | ".join(map(_escape, row)) + " |" for row in rows)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def unit(rows: Sequence[Row]) -> str:
    """Return the unit of distances."""
    return ", ".join(dict.fromkeys(row.unit for row in rows))


def metric_names(rows: Sequence[Row]) -> dict[str, str]:
    """Return the headings of the metrics, with their units."""
    return {
        metric: f"{name} ({'%' if metric in PERCENT else unit(rows)})"
        for metric, name in NAMES.items()
    }


def meaning(rows: Sequence[Row], baseline: str | None) -> str:
    """Return sentences that explain the numbers of a table."""
    text = (
        "Mean ± SD over seeds [95% interval over patients, with seeds averaged within a case]. "
        "Dice and Jaccard in percent."
    )
    if baseline is None or not any(row.difference for row in rows):
        return text
    how = "paired bootstrap over patients, with the chance in the seeds if both rows have several"
    return f"{text} Differences to {baseline}: {how}; Holm-corrected p-values."


def left_out(rows: Sequence[Row]) -> list[str]:
    """Return the explanation of "left out", if a row has such predictions."""
    some = any(spread.left_out for row in rows for spread in row.metrics.values())
    return [LEFT_OUT] if some else []


def spread_parts(spread: Spread, metric: str) -> list[str]:
    """Return "85.60 ± 0.84", "[71.71, 95.32]" and "4 left out", as far as they exist."""
    left_out = [f"{spread.left_out} left out"] if spread.left_out else []
    if math.isnan(spread.mean):
        return ["not defined", *left_out]
    scale = 100 if metric in PERCENT else 1
    sd = "" if spread.sd is None else f" ± {scale * spread.sd:.2f}"
    parts = [f"{scale * spread.mean:.2f}{sd}"]
    if spread.ci95 is not None:
        low, high = spread.ci95
        parts.append(f"[{scale * low:.2f}, {scale * high:.2f}]")
    return parts + left_out


def difference_parts(row: Row) -> list[str]:
    """Return "+6.14", "[+0.39, +15.02]" and "better, p = 0.026".

    Return "baseline" for the baseline itself, and "not given" where nothing is compared.
    """
    dice = row.difference
    if row.is_baseline or dice is None:
        return ["baseline" if row.is_baseline else NOT_GIVEN]
    verdict = row.verdict if row.p is None else f"{row.verdict}, {p_text(row.p)}"
    return [
        f"{100 * dice.mean:+.2f}",
        f"[{100 * dice.low:+.2f}, {100 * dice.high:+.2f}]",
        verdict,
    ]
