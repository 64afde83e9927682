"""Comparison in the terminal: the columns and notes that decide, others that fit, and the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from crossview.core.text import count, duration, listed
from crossview.evaluation.compare import Comparison
from crossview.evaluation.rows import Row
from crossview.evaluation.tables import (
    difference_parts,
    empty_parts,
    left_out,
    meaning,
    metric_names,
    spread_parts,
)

MOST_NOTES = 4

MEASURED = 500
"""Columns of a terminal on which a table is measured: more than any table needs."""


BY_OUT = "the page that --out FILE.html writes"
"""Where the rest of a table is, as the subject of a sentence."""


def print_comparison(comparison: Comparison, rest: str = BY_OUT) -> None:
    """Print a comparison. It fits 80 columns, and a wide terminal gets more of them.

    rest: what has the columns that find no room here, as the subject of a sentence.
    """
    console = Console()
    console.print(comparison_table(comparison, console.width, rest))


def comparison_table(comparison: Comparison, width: int, rest: str = BY_OUT) -> RenderableType:
    """Return the table with its notes, under a line that says what all rows share."""
    more = dict(_more(comparison.rows))
    for shown in range(len(more), -1, -1):  # as many further columns as fit
        table, above = _table(comparison, dict(list(more.items())[:shown]))
        if not shown or Console(width=MEASURED).measure(table).maximum <= width:
            break
    missing = [heading.partition(" ")[0] for heading in list(more)[shown:]]
    below = (
        Padding(Text(note, style="dim"), (0, 0, 0, 1)) for note in _notes(comparison, missing, rest)
    )
    return Group(Text(above), table, *below)


def _more(rows: Sequence[Row]) -> Iterator[tuple[str, list[str]]]:
    """Yield the further columns, the most telling first: heading and cells."""
    names = metric_names(rows)
    yield "Empty", ["\n".join(empty_parts(row)) for row in rows]
    for metric in ("jaccard", "asd"):
        cells = [spread_parts(row.metrics[metric], metric) for row in rows]
        yield names[metric], ["\n".join(parts[:1]) for parts in cells]
    yield "Training", [duration(row.seconds) for row in rows]


def _table(comparison: Comparison, more: Mapping[str, Sequence[str]]) -> tuple[Table, str]:
    """Return the table with further columns, and the line above it."""
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
    for heading in more:
        table.add_column(escape(heading.replace(" (", "\n(")), no_wrap=True)
    fixed = len(table.columns) - len(more)
    for place, (row, own) in enumerate(zip(rows, facts, strict=True)):
        apart = [text for text in own if text and text not in shared]
        hd95_parts = spread_parts(row.metrics["hd95"], "hd95")
        cells = (
            [row.method, *(f"  {text}" for text in apart)],
            spread_parts(row.metrics["dice"], "dice"),
            [part for part in hd95_parts if part[0] != "["],
            _difference(row),
        )
        texts = [
            *("\n".join(lines) for lines in cells[:fixed]),
            *(each[place] for each in more.values()),
        ]
        table.add_row(*map(escape, texts))
    return table, above


def _notes(comparison: Comparison, missing: Sequence[str], rest: str) -> list[str]:
    """Return the meaning of the numbers, the first notes, and where the rest is.

    Empty predictions are named here if their column has no room.
    """
    first, others = comparison.notes[:MOST_NOTES], comparison.notes[MOST_NOTES:]
    empty = [
        f"{row.method}: {', '.join(parts)}"
        for row in comparison.rows
        if (parts := empty_parts(row)) != ["none"]
    ]
    return [
        meaning(comparison.rows, comparison.baseline),
        *([f"Empty predictions: {'; '.join(empty)}."] if empty and "Empty" in missing else []),
        *left_out(comparison.rows),
        *first,
        *_elsewhere(comparison, [name for name in missing if name != "Empty"], len(others), rest),
    ]


def _elsewhere(
    comparison: Comparison, columns: Sequence[str], notes: int, rest: str
) -> Iterator[str]:
    """Yield a sentence on what is not shown here and what has it; nothing if all is shown."""
    parts = []
    if columns:
        noun = "column" if len(columns) == 1 else "columns"
        parts.append(f"the {noun} {listed(columns)}")
    if any(len(row.classes) > 1 for row in comparison.rows):
        parts.append("the scores of each class")
    if notes:
        parts.append(count(notes, "more note"))
    if parts:
        last = f"{', '.join(parts[:-1])}, and {parts[-1]}" if len(parts) > 1 else parts[0]
        yield f"Not all is shown here: {rest} also has {last}."


def _facts(row: Row) -> list[str]:
    """Return facts for the line above the table if all rows share them, else for the row's cell."""
    return [
        f"setting {row.setting}",
        f"protocol {row.protocol}" if row.protocol else "",
        f"{row.steps:,} steps",
        count(len(row.seeds), "seed"),
        "selection last"
        if row.selection == "last"
        else f"selected on {row.selection} ({row.checkpoint})",
        "scored in part" if any(run.partial for run in row.runs) else "",
    ]


def _difference(row: Row) -> list[str]:
    """Return the difference with its interval, and below them the verdict and the p-value."""
    parts = difference_parts(row)
    return [" ".join(parts[:2]), *(part.replace("shown, p", "shown,\np") for part in parts[2:])]
