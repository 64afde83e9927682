"""Output of the command: progress bars, result tables, errors. rich is imported on first use.

Printed result of a check: a summary of the data set, then the findings, grouped by rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from crossview.cli.console import FULL
from crossview.data.checks.dataset import Check
from crossview.data.checks.findings import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from crossview.evaluation.compare import Comparison
    from crossview.evaluation.doubt import Suggestion
    from crossview.runs.bench.bench import Bench

MOST_NAMED = 5
"""Number of cases to name if there are many."""


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
        print(f"table: {out}/compare.csv, compare.md, compare.html", flush=True)
    if result.elsewhere:
        print(
            f"left to another process: {len(result.elsewhere)} of {len(result.runs)} runs",
            flush=True,
        )
    if result.stopped:
        print("stopped and saved; run the same command to resume", flush=True)


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


ROLES = {
    "labelled": "labelled",
    "hidden": "labels hidden from training",
    "unlabelled": "unlabelled",
    "validation": "validation",
    "test": "test",
    "unused": "not used (split.toml can assign them)",
}


ALL_LABELLED = (
    "Every scan is labelled: train on all of them with method.name=supervised, "
    "or hide all labels but the first N with data.labelled=N."
)


COLOURS = {"error": "bold red", "warning": "bold yellow"}


MOST_SHOWN = 10
"""Findings of one kind that are listed individually."""


def checked(check: Check) -> RenderableType:
    """Return the summary tables and the findings, laid out for 80 columns or more."""
    parts: list[RenderableType] = [Text(_title(check), style="bold")]
    if check.facts:
        parts += [_cases(check), _ranges(check)]
    if check.classes():
        parts.append(_classes(check))
    for _, alike in groupby(sorted(check.findings, key=_kind), key=_kind):
        parts += [Text(), _finding(list(alike), str(check.data.root))]
    return Group(*parts, Text(), _verdict(check))


def _kind(finding: Finding) -> tuple[str, str]:
    return finding.severity, finding.problem.what


def _title(check: Check) -> str:
    count = sum(len(of_role) for of_role in check.facts.values())
    channels = max((fact.channels for fact in check.read), default=0)
    names = f" ({', '.join(check.data.channel_names)})" if check.data.channel_names else ""
    return (
        f"{check.data.root.absolute().name}: source {check.data.source}, {count:,} cases, "
        f"{_counted(channels, 'channel')}{names}"
    )


def _check_table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right")
    return table


def _cases(check: Check) -> RenderableType:
    table = _check_table("", "cases")
    for role, of_role in check.facts.items():
        if of_role or role in ("labelled", "unlabelled"):
            table.add_row(ROLES[role], f"{len(of_role):,}")
    return Padding(table, (1, 0, 0, 0))


def _ranges(check: Check) -> RenderableType:
    """Return shape and voxel spacing over all cases and, below, each channel's intensities."""
    table, intensities = _check_table("", "smallest", "median", "largest"), []
    for name, values in check.ranges().items():
        if name.startswith("intensity"):
            low, middle, high = values["median"]
            intensities.append(Text(f"{name}: {low:.4g} to {high:.4g}, median {middle:.4g}"))
        else:
            unit = " in mm" if name == "spacing" else ""
            table.add_row(
                name + unit,
                *(" x ".join(f"{value:.3g}" for value in row) for row in values.values()),
            )
    if not intensities:
        return Text()
    note = Text("(0.5th, 99.5th and 50th percentiles per case, median over cases)", style="dim")
    return Padding(Group(table, *intensities, note), (1, 0, 0, 0))


def _classes(check: Check) -> RenderableType:
    table = _check_table("class", "share of voxels", "in cases")
    labels = sum(bool(fact.label_counts) for of_role in check.facts.values() for fact in of_role)
    for share in check.classes():
        table.add_row(
            Text(f"{share.value} {share.name}"),
            f"{100 * share.share:.2f} %",
            f"{share.cases:,} of {labels:,}",
        )
    return Padding(table, (1, 0, 0, 0))


def _finding(alike: Sequence[Finding], root: str) -> RenderableType:
    """Return the findings of one kind: the rule once, then each case that breaks it."""
    first = alike[0].problem
    heading = Text(f"{alike[0].severity}: ", style=COLOURS[alike[0].severity])
    heading.append(first.what + (f" ({len(alike)} times)" if len(alike) > 1 else ""), style="bold")
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", min_width=9)
    grid.add_column(overflow="fold")
    for label, text in _lines(alike, root):
        grid.add_row(label, Text(text))
    return Group(heading, Padding(grid, (0, 0, 0, 2)))


def _lines(alike: Sequence[Finding], root: str) -> Iterator[tuple[str, str]]:
    for finding in alike[:MOST_SHOWN]:
        where = finding.problem.where.replace(f"{root}/", "").replace(root, "")
        yield (
            ("where" if where else "found"),
            ": ".join(text for text in (where, finding.problem.found) if text),
        )
    if len(alike) > MOST_SHOWN:
        yield "", f"and {len(alike) - MOST_SHOWN} more; --json lists all"
    for label in ("expected", "fix"):
        # These can differ between cases; the first finding's text is shown for all.
        if text := getattr(alike[0].problem, label):
            yield label, text


def _verdict(check: Check) -> Text:
    only = "" if check.facts.get("unlabelled") else f" {ALL_LABELLED}"
    if not check.findings:
        return Text(f"No problems found.{only}", style="bold green")
    counted = f"{_counted(len(check.errors), 'error')}, {_counted(len(check.warnings), 'warning')}."
    if check.errors:
        return Text(f"{counted} Fix the errors before training.", style="bold red")
    return Text(f"{counted} The data set can be trained on.{only}", style="bold")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
