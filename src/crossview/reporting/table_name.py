"""Formats of a comparison's file, by suffix. Loads nothing, so a wrong name is refused at once."""

from __future__ import annotations

from pathlib import Path

from crossview.core.errors import fail

TABLES = (".md", ".csv", ".html", ".svg")


def check_table_name(path: Path) -> None:
    """Raise UserError if the suffix of `path` is not a table format."""
    if path.suffix not in TABLES:
        found = f"the suffix '{path.suffix}'" if path.suffix else "no suffix"
        fail(
            "the format of the table is unknown",
            path,
            found=found,
            expected=f"a file name that ends in {', '.join(TABLES[:-1])} or {TABLES[-1]}",
        )
