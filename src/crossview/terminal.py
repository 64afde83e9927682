"""Output of the command: progress bars, result tables, errors. rich is imported on first use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from crossview.errors import STOPS, UserError
from crossview.launch import speaks

if TYPE_CHECKING:
    from pathlib import Path

    from crossview.evaluation.compare import Comparison
    from crossview.evaluation.suggest import Suggestion
    from crossview.prepare import Progress
    from crossview.runner import Bench


FULL = 0.999
"""Doubt above which a scan counts as fully doubtful."""
MOST_NAMED = 5
"""Number of cases to name if there are many."""


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """Show a progress bar on standard error; yield its function of (done, total).

    The bar disappears once all work is done, so that later output has the terminal.
    """
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    shown = Bar(console=console, transient=True)
    task = shown.add_task(what, total=None)

    def stop() -> None:
        if shown.live.is_started:  # stopping a bar that never started would print an empty line
            shown.stop()

    def report_progress(done: int, total: int) -> None:
        if not console.is_terminal:
            return
        shown.update(task, completed=done, total=total)
        if done < total:
            shown.start()
        else:
            stop()

    try:
        yield report_progress
    except STOPS:
        stop()
        print("stopped", file=sys.stderr)  # noqa: T201
        raise
    finally:
        stop()


def print_errors(error: UserError) -> None:
    """Print every problem to standard error, prefixed with "error". Only rank 0 prints."""
    if not speaks():
        return
    for problem in error.problems:
        print(f"error: {problem}", file=sys.stderr)  # noqa: T201
    if len(error.problems) > 1:
        print(f"{len(error.problems)} problems", file=sys.stderr)  # noqa: T201


def print_comparison(comparison: Comparison) -> None:
    """Print a comparison as wide as the terminal.

    A narrow terminal gets fewer columns, not truncated ones.
    """
    from rich.console import Console

    console = Console()
    console.print(comparison.table(console.width))


def print_bench(result: Bench, out: Path) -> None:
    """Print the table of a suite in the folder ``out``, and the runs that are left."""
    if result.comparison is not None:
        print_comparison(result.comparison)
        print(f"table: {out}/compare.csv, compare.md, compare.html", flush=True)  # noqa: T201
    if result.elsewhere:
        print(  # noqa: T201
            f"left to another process: {len(result.elsewhere)} of {len(result.runs)} runs",
            flush=True,
        )
    if result.stopped:
        print("stopped and saved; run the same command to resume", flush=True)  # noqa: T201


def suggestion_table(suggestions: list[Suggestion]) -> Any:
    """Return suggestions as a rich table, the scan to label first on top."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        "",
        "scan",
        "doubt",
        "rank by doubt",
        "most similar scan",
        title="label these next",
        caption_justify="left",
    )
    for each in suggestions:
        table.add_row(
            str(each.rank),
            escape(each.case),
            f"{each.score:.2f}",
            f"{each.place} of {each.of}",
            escape(each.nearest),
        )
    table.caption = (
        "doubt: from 0 (all views agree, or the network is certain) to 1 (they agree on nothing). "
        "After the first, each is that of the most doubtful that looks least like those before"
    )
    if all(each.score > FULL for each in suggestions):
        table.caption += (
            ". These are all fully doubtful: a run that finds nothing in scans can't rank them"
        )
    return table


def _empty(summary: dict[str, Any]) -> str:
    """Name the first empty predictions with their kind, and their class if there are several."""
    named = [
        f"{each['case']} ({summary['classes'][str(each['class'])]['name']} {each['kind']})"
        if len(summary["classes"]) > 1
        else f"{each['case']} ({each['kind']})"
        for each in summary["empty"]
    ]
    return ", ".join(named[:MOST_NAMED]) + (
        f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    )


def summary_table(summary: dict[str, Any]) -> Any:
    """Return a summary as a rich table: one row per class, the mean, and the mean of each view.

    A view that is the method's answer itself gets no row.
    """
    from rich.markup import escape
    from rich.table import Table

    from crossview.evaluation.scores import is_the_answer

    count, unit = len(summary["cases"]), summary["unit"]
    cases = "1 case" if count == 1 else f"{count} cases"
    title = (
        f"{summary['method']} on {summary['split']}: {cases}, "
        f"checkpoint {summary['checkpoint']} (step {summary['step']})"
    )
    table = Table(
        "",
        "Dice %",
        "95% interval",
        "Jaccard %",
        f"HD95 {unit}",
        f"ASD {unit}",
        title=title,
        caption_justify="left",
    )

    def row(name: str, scores: dict[str, Any]) -> None:
        def number(metric: str, factor: float = 1.0) -> str:
            mean = scores[metric]["mean"]
            return "-" if mean is None else f"{factor * mean:.2f}"

        low, high = scores["dice"].get("ci95") or (None, None)
        interval = "-" if low is None or high is None else f"{100 * low:.2f} to {100 * high:.2f}"
        table.add_row(
            escape(name),
            number("dice", 100),
            interval,
            number("jaccard", 100),
            number("hd95"),
            number("asd"),
        )

    for scores in summary["classes"].values():
        row(scores["name"], scores)
    if len(summary["classes"]) > 1:
        row("mean", summary["mean"])
    for name, view in summary["views"].items():
        if not is_the_answer(view, summary):
            row(f"{name} alone", view["mean"])
    captions = []
    if summary["optimistic"]:
        captions.append(f"selected on {summary['selection']}, optimistic")
    if summary["empty"]:
        captions.append(f"{len(summary['empty'])} empty: {_empty(summary)}")
    table.caption = escape("; ".join(captions))
    return table
