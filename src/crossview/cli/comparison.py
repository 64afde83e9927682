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
    against,
    difference_parts,
    left_out,
    meaning,
    metric_names,
    spread_parts,
)

MOST_NOTES = 3


def print_comparison(comparison: Comparison) -> None:
    """Print a comparison. It fits 80 columns."""
    Console().print(comparison_table(comparison))


def comparison_table(comparison: Comparison) -> RenderableType:
    """Return the table with its notes; the line above says what all rows share."""
    facts = [_facts(row) for row in comparison.rows]
    shared = [texts[0] for texts in zip(*facts, strict=True) if len(set(texts)) == 1]
    above = ", ".join([f"{comparison.split} cases", *filter(None, shared)])
    table = Table(box=box.SIMPLE, padding=0)
    dice, _, hd95, _ = metric_names(comparison.rows).values()
    for name in ("Method", dice, against(comparison.baseline), hd95):
        lines = name.replace(" (", "\n(").replace("against ", "against\n")
        table.add_column(escape(lines), no_wrap=name in (dice, hd95))
    for row, own in zip(comparison.rows, facts, strict=True):
        cells = (
            [row.method, *(f"  {text}" for text in own if text and text not in shared)],
            spread_parts(row.metrics["dice"], "dice"),
            _difference(row),
            [part for part in spread_parts(row.metrics["hd95"], "hd95") if part[0] != "["],
        )
        table.add_row(*(escape("\n".join(lines)) for lines in cells))
    below = (Padding(Text(note, style="dim"), (0, 0, 0, 1)) for note in _notes(comparison))
    return Group(Text(above), table, *below)


def _notes(comparison: Comparison) -> list[str]:
    """Return the meaning of the numbers, the first notes, and where the rest is."""
    first, others = comparison.notes[:MOST_NOTES], comparison.notes[MOST_NOTES:]
    more = f", {count(len(others), 'more note')}" if others else ""
    rest = f"Jaccard, ASD, classes, times{more}: in the .html or .md file (--out FILE)."
    return [meaning(comparison.baseline), *left_out(comparison.rows), *first, rest]


def _facts(row: Row) -> list[str]:
    """Return facts for the line above if all rows share them, and for the method's cell if not."""
    return [
        f"setting {row.setting}",
        f"protocol {row.protocol}" if row.protocol else "",
        f"{row.steps:,} steps",
        count(len(row.seeds), "seed"),
        "" if row.selection == "last" else f"selected on {row.selection}",
    ]


def _difference(row: Row) -> list[str]:
    """Return the difference with its interval, and below them the verdict and the p-value."""
    parts = difference_parts(row)
    return [" ".join(parts[:2]), *(part.replace("shown, p", "shown,\np") for part in parts[2:])]
