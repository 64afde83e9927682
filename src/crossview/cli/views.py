"""Results as rich tables: a checked data set, the scores of a run, scans to label next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from crossview.core.text import NOTHING, count, distance, first_few, interval, percent
from crossview.data.checks.dataset import Check
from crossview.data.checks.findings import Finding
from crossview.evaluation.doubt import Suggestion, pool_size
from crossview.evaluation.patients import cases_of, caution, worst_first
from crossview.evaluation.scores import is_the_answer
from crossview.evaluation.summary import shown_unit

FULL = 0.999
"""Doubt above which a scan counts as fully doubtful."""

MOST_NAMED = 5
"""Empty predictions to name if there are many."""

MOST_SHOWN = 10
"""Findings of one kind, and patients, that are listed individually."""

MOST_CLASSES = 30
"""Classes that are listed individually."""

COLOURS = {"error": "bold red", "warning": "bold yellow"}

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


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table without frames: names on the left, numbers on the right.

    Text is literal, and a name that is too long for its column goes on in the next line.
    """
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, column in enumerate(columns):
        made.add_column(Text(column), justify="right" if place else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def suggestion_table(suggestions: Sequence[Suggestion]) -> RenderableType:
    """Return suggestions, the scan to label first on top."""
    rows = [
        [f"{each.rank} {each.case}", f"{each.score:.2f}", f"{each.place} of {each.of}"]
        for each in suggestions
    ]
    columns = ["label these next", "doubt", "rank by doubt"]
    if any(each.estimated_dice is not None for each in suggestions):
        columns.append("estimated Dice %")
        for row, each in zip(rows, suggestions, strict=True):
            row.append(percent(each.estimated_dice))
    notes = ["Doubt: 0 if the run is certain, 1 if its views agree on nothing."]
    if all(each.score > FULL for each in suggestions):
        notes.append("All are fully doubtful: a run that finds nothing in scans can't rank them.")
    if len(suggestions) > 1:
        pool = pool_size(len(suggestions), suggestions[0].of)
        notes.append(
            "The first is the most doubtful. Each other is, among the "
            f"{pool:,} most doubtful scans, the one that looks least like the labelled scans and "
            "those listed before it: doubt need not fall from row to row."
        )
    found = table(columns, rows)
    return Group(found, *(Text(note, "dim") for note in notes))


def summary_table(summary: dict[str, Any]) -> RenderableType:
    """Return the scores of a run: a row per class, for the mean, and for the mean of each view.

    A view that is the method's answer itself gets no row.
    """
    classes, unit, cases = summary["classes"], shown_unit(summary), len(summary["cases"])
    rows = [_scores(scores["name"], scores, cases) for scores in classes.values()]
    rows += [_scores("mean", summary["mean"], cases)] if len(classes) > 1 else []
    rows += [
        _scores(f"{name} alone", view["mean"], cases)
        for name, view in summary["views"].items()
        if not is_the_answer(view, summary)
    ]
    title = (
        f"{summary['method']} on {summary['split']}: {cases_of(cases, summary['patients'])}, "
        f"checkpoint {summary['checkpoint']} (step {summary['step']})"
    )
    columns = ("", "Dice %", "95% interval", "Jaccard %", f"HD95 {unit}", f"ASD {unit}")
    parts = [table(columns, rows), *_by_patient(summary)]
    over = count(summary["patients"], "patient")
    notes = [caution(summary["patients"]) or f"Intervals are over {over}."]
    if summary["optimistic"]:
        notes.append(f"selected on {summary['selection']}, optimistic")
    if summary["empty"]:
        empty = first_few([_empty(each, classes) for each in summary["empty"]], MOST_NAMED)
        notes.append(f"{len(summary['empty'])} empty: {empty}")
    return Group(Text(title, "bold"), *parts, *(Text(note, "dim") for note in notes))


def _by_patient(summary: dict[str, Any]) -> list[RenderableType]:
    """Return a table with a row per patient, the worst first; none if cases are patients."""
    patients, unit = worst_first(summary["by_patient"]), shown_unit(summary)
    if not patients:
        return []
    columns = ("patient", "cases", "Dice %", "Jaccard %", f"HD95 {unit}", f"ASD {unit}")
    rows = [
        (
            each["patient"],
            str(each["cases"]),
            *(percent(each[metric]) for metric in ("dice", "jaccard")),
            *(distance(each[metric]) for metric in ("hd95", "asd")),
        )
        for each in patients[:MOST_SHOWN]
    ]
    more = len(patients) - MOST_SHOWN
    rest = [Text(f"and {count(more, 'patient')} more in the report", "dim")] if more > 0 else []
    return [Text(), table(columns, rows), *rest]


def _scores(name: str, scores: dict[str, Any], cases: int) -> tuple[str, ...]:
    """Return the cells of a row; the interval says so if it rests on fewer than all cases."""
    means = {metric: scores[metric]["mean"] for metric in ("dice", "jaccard", "hd95", "asd")}
    span = interval(*(scores["dice"].get("ci95") or (None, None))) or NOTHING
    counted = scores["dice"]["n"]
    return (
        name,
        percent(means["dice"]),
        span if counted == cases else f"{span} ({count(counted, 'case')})",
        percent(means["jaccard"]),
        distance(means["hd95"]),
        distance(means["asd"]),
    )


def _empty(each: dict[str, Any], classes: dict[str, Any]) -> str:
    """Name an empty prediction with its kind, and its class if there are several."""
    name = f"{classes[str(each['class'])]['name']} " if len(classes) > 1 else ""
    return f"{each['case']} ({name}{each['kind']})"


def checked(check: Check) -> RenderableType:
    """Return the summary tables and the findings, laid out for 80 columns or more."""
    parts: list[RenderableType] = [Text(_title(check), "bold")]
    parts += [_cases(check)] if check.every else []
    parts += [_ranges(check)] if check.read else []
    some = check.classes() or any(fact.label_counts for fact in check.every)
    parts += [_classes(check)] if some else []
    parts += [_regions(check)] if check.data.regions else []
    for _, alike in groupby(sorted(check.findings, key=_kind), key=_kind):
        parts.append(_finding(list(alike), str(check.data.root)))
    return Group(*(Padding(part, (0, 0, 1, 0)) for part in parts), _verdict(check))


def _kind(finding: Finding) -> tuple[str, str]:
    return finding.severity, finding.problem.what


def _title(check: Check) -> str:
    cases = sum(map(len, check.facts.values()))
    channels = max((fact.channels for fact in check.read), default=0)
    names = f" ({', '.join(check.data.channel_names)})" if check.data.channel_names else ""
    return (
        f"{check.data.root.absolute().name}: source {check.data.source}, {count(cases, 'case')}, "
        f"{count(channels, 'channel')}{names}"
    )


def _cases(check: Check) -> RenderableType:
    rows = (
        (ROLES[role], f"{len(of_role):,}")
        for role, of_role in check.facts.items()
        if of_role or role in ("labelled", "unlabelled")
    )
    partly = sum(fact.ignored > 0 for fact in check.every)
    more = [("labelled in part", f"{partly:,}")] if partly else []
    return table(("", "cases"), [*rows, *more])


def _ranges(check: Check) -> RenderableType:
    """Return shape and voxel spacing over all cases and, below, each channel's intensities."""
    rows, intensities = [], []
    for name, values in check.ranges().items():
        if name.startswith("intensity"):
            low, middle, high = values["median"]
            intensities.append(Text(f"{name}: {low:.4g} to {high:.4g}, median {middle:.4g}"))
        else:
            sides = (" x ".join(f"{value:.3g}" for value in row) for row in values.values())
            rows.append((f"{name} in mm" if name == "spacing" else name, *sides))
    if not intensities:
        return Text()
    note = Text("(0.5th, 99.5th and 50th percentiles per case, median over cases)", "dim")
    return Group(table(("", "smallest", "median", "largest"), rows), *intensities, note)


def _classes(check: Check) -> RenderableType:
    """Return the classes of the labels, and how many classes and labels are left out."""
    labels = len(check.labels)
    shares = check.classes()
    rows = (
        (
            f"{share.value} {share.name}",
            f"{percent(share.share)} %",
            f"{share.cases:,} of {labels:,}",
        )
        for share in shares[:MOST_CLASSES]
    )
    flat = {len(fact.shape) for fact in check.read} == {3}  # one axis is of channels
    columns = ("class", f"share of {'pixels' if flat else 'voxels'}", "in cases")
    notes = []
    if (more := len(shares) - MOST_CLASSES) > 0:
        notes.append(f"and {more:,} more; --json lists all")
    if left := sum(bool(fact.label_counts) for fact in check.every) - labels:
        notes.append(f"without {count(left, 'label')} whose values are no classes (see below)")
    made = [table(columns, rows)] if shares else []
    return Group(*made, *(Text(note, "dim") for note in notes))


def _regions(check: Check) -> RenderableType:
    labels = len(check.labels)
    rows = (
        (
            f"{share.name} = {', '.join(map(str, share.classes))}",
            f"{percent(share.share)} %",
            f"{share.cases:,} of {labels:,}",
        )
        for share in check.regions()
    )
    return table(("region", "share", "in cases"), rows)


def _finding(alike: Sequence[Finding], root: str) -> RenderableType:
    """Return the findings of one kind: the rule once, then each case that breaks it."""
    first = alike[0]
    heading = Text(f"{first.severity}: ", COLOURS[first.severity])
    times = f" ({len(alike)} times)" if len(alike) > 1 else ""
    heading.append(first.problem.what + times, "bold")
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", min_width=9)
    grid.add_column(overflow="fold")
    for label, text in _lines(alike, root):
        grid.add_row(label, Text(text))
    return Group(heading, Padding(grid, (0, 0, 0, 2)))


def _lines(alike: Sequence[Finding], root: str) -> Iterator[tuple[str, str]]:
    for finding in alike[:MOST_SHOWN]:
        # Only where a path begins: a folder named "." or "p" is in every file's name.
        where = re.sub(rf"(?<!\S){re.escape(root)}(/|$)", "", finding.problem.where)
        found = ": ".join(filter(None, (where, finding.problem.found)))
        yield "where" if where else "found", found
    if len(alike) > MOST_SHOWN:
        yield "", f"and {len(alike) - MOST_SHOWN} more; --json lists all"
    # These can differ between cases; the first finding's text is shown for all.
    for label in ("expected", "fix"):
        if text := getattr(alike[0].problem, label):
            yield label, text


def _verdict(check: Check) -> Text:
    only = "" if check.facts.get("unlabelled") else f" {ALL_LABELLED}"
    if not check.findings:
        return Text(f"No problems found.{only}", "bold green")
    found = f"{count(len(check.errors), 'error')}, {count(len(check.warnings), 'warning')}."
    if check.errors:
        return Text(f"{found} Fix the errors before training.", "bold red")
    return Text(f"{found} The data set can be trained on.{only}", "bold")
