"""What a run folder holds, read forgivingly: a run may be young, killed, or written by a later version."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossview.errors import Problem, UserError
from crossview.reporting.words import number, table

Row = dict[str, Any]


@dataclass(frozen=True)
class Journal:
    """Rows of journal.jsonl by their kind, in order."""

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
        """Seconds since the run began, as of the last row that says so."""
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
    """One case of an evaluation: the mean over its classes, each class, and each view's mean Dice."""

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
    """evaluation/<split>: the summary, the cases with the worst first, and their pictures by file stem."""

    split: str
    summary: Mapping[str, Any]
    cases: tuple[CaseScores, ...]
    pictures: Mapping[str, Path]

    @property
    def classes(self) -> dict[str, str]:
        """Names of the classes by their index."""
        return {
            index: str(table(scores).get("name") or f"class {index}")
            for index, scores in table(self.summary.get("classes")).items()
        }


@dataclass(frozen=True)
class RunFolder:
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
        """The split whose cases are scored during training, in the journal's rows "validation"."""
        return "test" if self.option("training", "selection") == "test" else "validation"


def read_run(path: Path) -> RunFolder:
    """Read a run folder. Raises UserError where there is none, or where its recipe or a summary can't be read."""
    if not (path / "recipe.toml").is_file():
        raise UserError(
            Problem(
                "not a run folder",
                where=str(path),
                found="no recipe.toml" if path.is_dir() else "no such folder",
                expected="a folder that crossview train wrote",
                fix="give the folder named by --out",
            )
        )
    text = (path / "recipe.toml").read_text(encoding="utf-8", errors="replace")
    try:
        recipe = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            Problem(
                "not valid TOML",
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
    """The journal's rows; a line that was cut or damaged is left out, a missing file is an empty journal."""
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
                "not valid JSON",
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
    """cases.csv, one row a case, view and class, gathered by case. Views other than the combined one count by their Dice."""
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
