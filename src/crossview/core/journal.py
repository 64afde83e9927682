"""The journal of a run: a JSON object per line, appended while the run trains."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossview.core.files import naming, write_text
from crossview.core.parse import from_json
from crossview.core.text import number

Row = dict[str, Any]

LABELLED_STAGE_ONLY = "labelled stage only"
"""Mark of a run that had no other stage, and so used no unlabelled scan."""


@dataclass(frozen=True)
class History:
    """Rows of a journal, in order."""

    rows: tuple[Row, ...] = ()

    def of(self, kind: str) -> list[Row]:
        return [row for row in self.rows if row.get("kind") == kind]

    @property
    def end(self) -> Row | None:
        """Row of the end of training, or None if the run is not finished."""
        return next(reversed(self.of("finished")), None)

    @property
    def finished(self) -> bool:
        return self.end is not None

    @property
    def waited_in_vain(self) -> bool:
        """True if the networks never became ready, so that no unlabelled scan was used.

        The labelled stage waited for them and took all steps of the run.
        """
        looks = self.of("readiness")
        return self.finished and bool(looks) and not looks[-1].get("ready")

    @property
    def total_step(self) -> int:
        """Optimiser steps done so far."""
        return max((int(number(row.get("total_step")) or 0) for row in self.rows), default=0)

    @property
    def seconds(self) -> float | None:
        """Seconds since the run began, from the last row that records them."""
        known = (number(row.get("seconds")) for row in reversed(self.rows))
        return next((seconds for seconds in known if seconds is not None), None)


def read_journal(path: Path) -> tuple[Row, ...]:
    """Read a journal. Lines that are cut or damaged are dropped; a missing file reads as empty."""
    if not path.exists():
        return ()
    rows = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                rows.append(from_json(line))
            except ValueError:
                continue
    return tuple(row for row in rows if isinstance(row, dict))


AGAIN = ("stage", "finished")
"""Kinds of rows that a run resumed at their step writes again."""


class Journal:
    """Writer of a journal.

    Every row has a ``kind``; rows of training have ``total_step``, the steps done since the run
    began.

    Args:
        path: The file.
        writes: False in all but one of several processes that train one run.
    """

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path, self.writes = path, writes

    def append(self, kind: str, **values: Any) -> Row:
        """Write a row and return it.

        A number that is not finite is written as null: a loss that diverged, or the Dice of a class
        that no case has.
        """
        row = {"kind": kind, **values}
        if self.writes:
            with naming(self.path), self.path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(_finite(row), allow_nan=False) + "\n")
        return row

    def cut_after(self, total_step: int) -> None:
        """Drop the rows after the checkpoint of ``total_step``: those steps will be done again.

        The start of a stage of which the checkpoint holds no step is dropped as well, and the end
        of a run that was killed before its model was written: both will be written again.
        """
        if not self.writes:
            return
        kept = [
            row
            for row in read_journal(self.path)
            if row.get("total_step", 0) < total_step + (row.get("kind") not in AGAIN)
        ]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
