"""Tolerant reader of run folders: a run may be unfinished, killed or from a later version."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossview.core.errors import Problem, UserError
from crossview.core.text import number
from crossview.reporting.words import table

Row = dict[str, Any]


@dataclass(frozen=True)
class Journal:
    """Rows of journal.jsonl, in order."""

    rows: tuple[Row, ...] = ()

    def of(self, kind: str) -> list[Row]:
        return [row for row in self.rows if row.get("kind") == kind]

    @property
    def finished(self) -> bool:
        return any(row.get("kind") == "finished" for row in self.rows)

    @property
    def total_step(self) -> int:
        """Optimiser steps done so far."""
        return max((int(number(row.get("total_step")) or 0) for row in self.rows), default=0)

    @property
    def seconds(self) -> float | None:
        """Seconds since the run began, from the last row that records them."""
        return next(
            (
                found
                for row in reversed(self.rows)
                if (found := number(row.get("seconds"))) is not None
            ),
            None,
        )


@dataclass
class CaseScores:
    """Scores of one case in an evaluation: per class, and the Dice of each view per class."""

    case: str
    patient: str = ""
    classes: dict[str, dict[str, float | None]] = field(default_factory=dict)
    views: dict[str, dict[str, float | None]] = field(default_factory=dict)
    empty: list[tuple[str, str]] = field(default_factory=list)

    def mean(self, metric: str) -> float | None:
        return _mean(scores.get(metric) for scores in self.classes.values())

    def view_dice(self, view: str) -> float | None:
        return _mean(self.views.get(view, {}).values())


@dataclass(frozen=True)
class Evaluation:
    """Contents of evaluation/<split>: summary, cases (worst first) and pictures by file stem."""

    split: str
    summary: Mapping[str, Any]
    cases: tuple[CaseScores, ...]
    pictures: Mapping[str, Path]

    @property
    def classes(self) -> dict[str, str]:
        """Class names by index."""
        return {
            index: str(table(scores).get("name") or f"class {index}")
            for index, scores in table(self.summary.get("classes")).items()
        }

    def pictured(self) -> list[tuple[CaseScores, Path]]:
        """Return the cases that have a picture, with its path."""
        return [
            (case, path)
            for case in self.cases
            if (path := self.pictures.get(case.case)) is not None
        ]


@dataclass(frozen=True)
class RunFolder:
    """Parsed contents of a run folder."""

    path: Path
    recipe: Mapping[str, Any]
    recipe_text: str
    environment: Mapping[str, Any]
    journal: Journal
    evaluations: tuple[Evaluation, ...]
    batches: tuple[Path, ...]

    def option(self, section: str, key: str) -> Any:
        return table(self.recipe.get(section)).get(key)

    @property
    def scored_in_training(self) -> str:
        """Split scored during training, in the journal's "validation" rows."""
        return "test" if self.option("training", "selection") == "test" else "validation"


def read_run(path: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        UserError: If it is not a run folder, or its recipe or a summary cannot be read.
    """
    if not (path / "recipe.toml").is_file():
        raise UserError(
            Problem(
                "not a run folder",
                where=str(path),
                found="no recipe.toml" if path.is_dir() else "no such folder",
                expected="a folder that crossview train wrote",
                fix="give the folder that --out named",
            )
        )
    text = (path / "recipe.toml").read_text(encoding="utf-8", errors="replace")
    try:
        recipe = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            Problem(
                "the file is not valid TOML",
                where=str(path / "recipe.toml"),
                found=str(error),
                fix="restore the file",
            )
        ) from error
    environment = path / "environment.json"
    evaluations = [
        _read_evaluation(summary.parent)
        for summary in sorted(path.glob("evaluation/*/summary.json"))
        if summary.parent.suffix != ".part"
    ]
    order = ["test", "validation"]
    evaluations.sort(
        key=lambda found: order.index(found.split) if found.split in order else len(order)
    )
    return RunFolder(
        path=path,
        recipe=recipe,
        recipe_text=text,
        environment=_read_json(environment) if environment.is_file() else {},
        journal=read_journal(path / "journal.jsonl"),
        evaluations=tuple(evaluations),
        batches=tuple(sorted(path.glob("pictures/*.png"))),
    )


def read_journal(path: Path) -> Journal:
    """Read the journal. Cut or damaged lines are skipped; a missing file reads as empty."""
    if not path.is_file():
        return Journal()
    return Journal(tuple(_journal_rows(path)))


def _journal_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            Problem(
                "the file is not valid JSON",
                where=str(path),
                found=str(error),
                fix="run crossview evaluate again",
            )
        ) from error
    return table(found)


def _read_evaluation(folder: Path) -> Evaluation:
    file = folder / "cases.csv"
    cases = _read_cases(file) if file.is_file() else []
    cases.sort(key=lambda case: (2.0 if (dice := case.mean("dice")) is None else dice, case.case))
    pictures = {picture.stem: picture for picture in sorted(folder.glob("pictures/*.png"))}
    return Evaluation(folder.name, _read_json(folder / "summary.json"), tuple(cases), pictures)


def _read_cases(file: Path) -> list[CaseScores]:
    """Read cases.csv, which has one row per case, view and class, into one entry per case.

    Only the Dice of single views is kept.
    """
    cases: dict[str, CaseScores] = {}
    with file.open(encoding="utf-8", errors="replace", newline="") as lines:
        for row in csv.DictReader(lines):
            name, index = row.get("case") or "", row.get("class") or ""
            if not name or index == "mean":
                continue
            case = cases.setdefault(name, CaseScores(name, row.get("patient") or ""))
            if row.get("view") == "other_cleanup":
                continue
            if row.get("view"):
                case.views.setdefault(row["view"], {})[index] = number(row.get("dice"))
                continue
            case.classes[index] = {
                metric: number(row.get(metric))
                for metric in ("dice", "jaccard", "hd95", "asd", "assd")
            }
            if row.get("empty"):
                case.empty.append((index, row["empty"]))
    return list(cases.values())


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
