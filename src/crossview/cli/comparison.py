"""Comparison in the terminal: the columns and notes that decide, and where the rest is."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from crossview.core.text import count
from crossview.evaluation.compare import Comparison
from crossview.evaluation.rows import Row
from crossview.evaluation.tables import (
    difference_parts,
    left_out,
    meaning,
    metric_names,
    spread_parts,
)

MOST_NOTES = 4


def print_comparison(comparison: Comparison) -> None:
    """Print a comparison. It fits 80 columns."""
    Console().print(comparison_table(comparison))


def comparison_table(comparison: Comparison) -> RenderableType:
    """Return the table with its notes, under a line that says what all rows share."""
    rows = comparison.rows
    facts = [_facts(row) for row in rows]
    shared = [texts[0] for texts in zip(*facts, strict=True) if len(set(texts)) == 1]
    above = ", ".join([f"{comparison.split} cases", *filter(None, shared)])
    dice, _, hd95, _ = metric_names(rows).values()
    table = Table(box=box.SIMPLE, padding=0)
    table.add_column("Method")
    for heading in (dice, hd95):
        table.add_column(escape(heading.replace(" (", "\n(")), no_wrap=True)
    if comparison.baseline is not None:
        table.add_column(escape(f"Dice against\n{comparison.baseline}"))
    for row, own in zip(rows, facts, strict=True):
        apart = [text for text in own if text and text not in shared]
        hd95_parts = spread_parts(row.metrics["hd95"], "hd95")
        cells = (
            [row.method, *(f"  {text}" for text in apart)],
            spread_parts(row.metrics["dice"], "dice"),
            [part for part in hd95_parts if part[0] != "["],
            _difference(row),
        )
        table.add_row(*(escape("\n".join(lines)) for lines in cells[: len(table.columns)]))
    below = (Padding(Text(note, style="dim"), (0, 0, 0, 1)) for note in _notes(comparison))
    return Group(Text(above), table, *below)


def _notes(comparison: Comparison) -> list[str]:
    """Return the meaning of the numbers, the first notes, and where the rest is."""
    first, others = comparison.notes[:MOST_NOTES], comparison.notes[MOST_NOTES:]
    more = f", {count(len(others), 'more note')}" if others else ""
    rest = f"Jaccard, ASD, classes, times{more}: in the report, or in a table written by --out."
    return [meaning(comparison.baseline), *left_out(comparison.rows), *first, rest]


def _facts(row: Row) -> list[str]:
    """Return facts for the line above the table if all rows share them, else for the row's cell."""
    return [
        f"setting {row.setting}",
        f"protocol {row.protocol}" if row.protocol else "",
        f"{row.steps:,} steps",
        count(len(row.seeds), "seed"),
        "" if row.selection == "last" else f"selected on {row.selection}",
        "scored in part" if any(run.partial for run in row.runs) else "",
    ]


def _difference(row: Row) -> list[str]:
    """Return the difference with its interval, and below them the verdict and the p-value."""
    parts = difference_parts(row)
    return [" ".join(parts[:2]), *(part.replace("shown, p", "shown,\np") for part in parts[2:])]
