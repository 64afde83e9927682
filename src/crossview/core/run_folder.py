"""The journal of a run: one JSON object a line, appended as training goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossview.core.files import write_text

Row = dict[str, Any]


def read_journal(path: Path) -> Iterator[Row]:
    """The rows of a journal; a last line that a kill cut short is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Journal:
    """Appends rows. Every row carries ``kind``; rows of training carry ``total_step``, the steps done since the run began.

    writes: false in all but one of several processes that train one run.
    """

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path, self.writes = path, writes

    def append(self, kind: str, **values: Any) -> Row:
        """Write a row and return it. What is not finite (a loss that diverged, the Dice of a class no case has) is written as null."""
        row = {"kind": kind, **values}
        if not self.writes:
            return row
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(_finite(row), allow_nan=False) + "\n")
        return row

    def cut_after(self, total_step: int) -> None:
        """Drop the rows written after the checkpoint of ``total_step``: those steps are about to be done again.

        So is the start of a stage of which the checkpoint holds no step.
        """
        if not self.writes:
            return
        kept = [
            row
            for row in read_journal(self.path)
            if row.get("total_step", 0) < total_step + (row["kind"] != "stage")
        ]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))
