"""Drafts and their corrections, as a report shows them: round by round, without names of cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from crossview.core.run_folder import RunFolder
from crossview.core.text import number, table


@dataclass(frozen=True)
class DraftRow:
    """A round, or all of them.

    Attributes:
        name: "1", "2" ... or "all".
        date: Day on which the drafts were written.
        drafts: Number of drafts.
        labelled: Number of them whose scan has a label now.
        compared: Number of labels that could be compared with their drafts.
        outdated: Number of them that have changed since, without their drafts.
        unchanged: Number of labels that equal their drafts.
        dice: Mean Dice of draft and label.
        changed: Voxels that were changed.
        voxels: Voxels of these labels that belong to a class.
    """

    name: str
    date: str
    drafts: int
    labelled: int
    compared: int
    outdated: int
    unchanged: int
    dice: float | None
    changed: int
    voxels: int

    @property
    def share(self) -> float | None:
        """Voxels changed per voxel of the labels; above 1 a draft costs more than it saves."""
        return self.changed / self.voxels if self.voxels else None


def draft_rows(run: RunFolder) -> list[DraftRow]:
    """Return a row per round of the data that a run was trained on, and their sum if several."""
    listed = run.rounds.get("rounds")
    rounds = [table(each) for each in listed] if isinstance(listed, list) else []
    cases = [[table(case) for case in table(each.get("cases")).values()] for each in rounds]
    rows = [
        _row(str(place), str(each.get("suggested", ""))[:10], of_round)
        for place, (each, of_round) in enumerate(zip(rounds, cases, strict=True), 1)
    ]
    return rows if len(rows) < 2 else [*rows, _row("all", "", [*chain(*cases)])]


def _row(name: str, date: str, cases: list[Mapping[str, Any]]) -> DraftRow:
    compared = [case for case in cases if number(case.get("changed")) is not None]
    dice = [found for case in compared if (found := number(case.get("dice"))) is not None]
    return DraftRow(
        name,
        date,
        drafts=len(cases),
        labelled=sum(bool(case.get("labelled")) for case in cases),
        compared=len(compared),
        outdated=sum(case.get("outdated") is True for case in compared),
        unchanged=sum(case["changed"] == 0 and not case.get("outdated") for case in compared),
        dice=sum(dice) / len(dice) if dice else None,
        changed=sum(int(case["changed"]) for case in compared),
        voxels=sum(int(number(case.get("voxels")) or 0) for case in compared),
    )
