"""The journal of a run: one JSON object per line, appended during training."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossview.core.files import write_text

Row = dict[str, Any]


def read_journal(path: Path) -> Iterator[Row]:
    """Yield the rows of a journal; skip a last line that a kill cut short."""
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
    """A journal that rows are appended to.

    Every row has ``kind``; rows of training have ``total_step``, the steps done since the run
    began. writes: false in all but the first of several processes.
    """

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path, self.writes = path, writes

    def append(self, kind: str, **values: Any) -> Row:
        """Write a row and return it.

        A value that is not finite is written as null: a loss that diverged, or the Dice of a class
        that no case has.
        """
        row = {"kind": kind, **values}
        if not self.writes:
            return row
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(_finite(row), allow_nan=False) + "\n")
        return row

    def cut_after(self, total_step: int) -> None:
        """Drop the rows after the checkpoint of ``total_step``: those steps will be done again.

        The start of a stage without a step in the checkpoint is dropped too.
        """
        if not self.writes:
            return
        kept = [
            row
            for row in read_journal(self.path)
            if row.get("total_step", 0) < total_step + (row["kind"] != "stage")
        ]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))
