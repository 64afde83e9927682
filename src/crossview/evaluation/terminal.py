"""Comparison for the terminal.

A wide terminal shows the full table, a narrow one the key columns and where to find the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from crossview.evaluation.tables import (
    UNKNOWN,
    cells,
    difference_text,
    header,
    meaning,
    metric_names,
    spread_text,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from crossview.evaluation.compare import Comparison, Row

WIDE = 110
"""Terminal columns that the full table needs."""
REST = "Jaccard, ASD, intervals, steps and times are in the .md, .csv or .html file (--out)."


def terminal(comparison: Comparison, width: int) -> RenderableType:
    """Return the table of rows with the notes below; the title says what all rows share."""
    return _wide(comparison) if width >= WIDE else _narrow(comparison)


def _wide(comparison: Comparison) -> RenderableType:
    lines = [cells(row, "\n") for row in comparison.rows]
    columns = {
        name: [line[place] for line in lines] for place, name in enumerate(header(comparison))
    }
    same = [
        name
        for name in ("Setting", "Protocol", "Steps", "Seeds", "Empty", "Selection")
        if len(set(columns[name])) == 1
    ]
    told = [f"{name.lower()} {columns.pop(name)[0]}" for name in same]
    told = [text for text in told if text != f"protocol {UNKNOWN}"]
    if "Empty" in columns:
        columns["Empty"] = [cell.replace(", ", ",\n") for cell in columns["Empty"]]
    return _table(comparison, told, columns, metric_names(comparison), comparison.notes)


def _narrow(comparison: Comparison) -> RenderableType:
    """Return a table for 80 columns: Dice, its difference, and HD95 with the number left out."""
    settings = list(dict.fromkeys(row.setting for row in comparison.rows))
    several = len(settings) > 1
    names = metric_names(comparison)
    columns = {
        "Method": [
            f"{row.method}\n  {row.setting}" if several else row.method for row in comparison.rows
        ],
        names[0]: [spread_text(row.metrics["dice"], "dice", "\n") for row in comparison.rows],
        header(comparison)[-4]: [_difference(row) for row in comparison.rows],
        names[2]: [_short_distance(row) for row in comparison.rows],
    }
    told = [] if several else [f"setting {settings[0]}"]
    return _table(comparison, told, columns, [names[0], names[2]], [REST, *comparison.notes])


def _difference(row: Row) -> str:
    """Return the difference with its interval, and below them the verdict and the p-value."""
    return difference_text(row, "\n").replace("\n[", " [", 1).replace("shown, p", "shown,\np")


def _short_distance(row: Row) -> str:
    """Return the mean and the number of predictions left out of it."""
    lines = spread_text(row.metrics["hd95"], "hd95", "\n").splitlines()
    return "\n".join(line for line in lines if not line.startswith("["))


def _table(
    comparison: Comparison,
    told: Sequence[str],
    columns: Mapping[str, Sequence[str]],
    rigid: Sequence[str],
    notes: Sequence[str],
) -> RenderableType:
    """Return the table. told: more parts of the title. rigid: columns that are never wrapped."""
    from rich import box
    from rich.console import Group
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    title = escape(", ".join([f"{comparison.split} cases", *told]))
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=0)
    for name in columns:
        lines = name.replace(" (", "\n(").replace("against ", "against\n")
        table.add_column(
            escape(lines), no_wrap=name in rigid, min_width=15 if "against" in name else None
        )
    for line in zip(*columns.values(), strict=True):
        table.add_row(*map(escape, line))
    return Group(
        table,
        *(
            Padding(Text(note, style="dim"), (0, 0, 0, 1))
            for note in [*meaning(comparison), *notes]
        ),
    )
