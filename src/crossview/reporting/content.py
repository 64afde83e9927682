"""Content of a report: what a run folder contains, read once, and its cases for the page.

A run may be unfinished, killed or from a later version.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossview.core.busy import worker
from crossview.core.journal import History
from crossview.core.run_folder import EvaluationFolder, RunFolder
from crossview.core.text import array, number, table
from crossview.evaluation.metrics import METRICS
from crossview.evaluation.patients import cases_of, worst_first
from crossview.evaluation.scores import OTHER_CLEAN_UP
from crossview.evaluation.summary import shown_unit


@dataclass(frozen=True)
class Estimate:
    """A metric over cases: mean, standard deviation and 95 % interval, as far as recorded."""

    mean: float | None = None
    sd: float | None = None
    span: tuple[float, float] | None = None

    @classmethod
    def of(cls, entry: Any) -> Estimate:
        """Read an entry of summary.json, a plain mean or a table."""
        if not isinstance(entry, Mapping):
            return cls(number(entry))
        ends = entry.get("ci95")
        low, high = map(number, ends) if isinstance(ends, list) and len(ends) == 2 else (None, None)
        span = None if low is None or high is None else (low, high)
        return cls(number(entry.get("mean")), number(entry.get("sd")), span)


def estimates(entry: Any) -> dict[str, Estimate]:
    """Return the score of each metric of a table of summary.json; empty where not recorded."""
    return {metric: Estimate.of(table(entry).get(metric)) for metric in METRICS}


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

    @property
    def scores(self) -> dict[str, Estimate]:
        return estimates(self.summary.get("mean"))

    @property
    def views(self) -> dict[str, Mapping[str, Any]]:
        """Scores of each view, as in summary.json."""
        views = table(self.summary.get("views"))
        return {name: table(scores) for name, scores in views.items()}

    @property
    def empty(self) -> list[Mapping[str, Any]]:
        """Empty structures, as in summary.json: case, class and kind."""
        return [table(entry) for entry in array(self.summary.get("empty"))]

    @property
    def unit(self) -> str:
        return shown_unit({**self.summary, "unit": self.summary.get("unit") or "voxel"})

    @property
    def flat(self) -> bool:
        """True if the cases are images, not volumes."""
        return self.summary.get("dimensions") == 2

    @property
    def patients(self) -> int:
        """Number of patients; a case without a patient is one of its own."""
        return len({case.patient or case.case for case in self.cases})

    @property
    def by_patient(self) -> list[Mapping[str, Any]]:
        """Scores of each patient, worst first; none if every case is a patient of its own."""
        rows = map(table, array(self.summary.get("by_patient")))
        return worst_first(
            [row for row in rows if {"patient", "cases", *METRICS[:4]} <= row.keys()]
        )

    @property
    def counted(self) -> str:
        """Number of cases in words, with that of their patients if it differs."""
        cases = len(array(self.summary.get("cases")) or self.cases)
        return cases_of(cases, self.patients or cases, f"{self.split} case")

    def pictured(self) -> list[tuple[CaseScores, Path]]:
        """Return the cases that have a picture, with its path."""
        return [
            (case, path)
            for case in self.cases
            if (path := self.pictures.get(case.case)) is not None
        ]


@dataclass(frozen=True)
class RunContent:
    """Content of a run folder when it was read."""

    folder: RunFolder
    recipe: Mapping[str, Any]
    recipe_text: str
    environment: Mapping[str, Any]
    journal: History
    evaluations: tuple[Evaluation, ...]
    batches: tuple[Path, ...]
    plan: Mapping[str, Any] = field(default_factory=dict)
    training_by: str = ""
    """The process that trains the run at this moment, "" for none."""
    shown_as: str = ""
    """The run's folder in commands, "" for its path."""

    @property
    def path(self) -> Path:
        return self.folder.path

    def command(self, verb: str, *more: str) -> str:
        """Return a command on the run, as the page shows it."""
        found, path = self.folder.command(verb, *more), shlex.quote(str(self.path))
        return found.replace(path, self.shown_as, 1) if self.shown_as else found

    def option(self, section: str, key: str) -> Any:
        return table(self.recipe.get(section)).get(key)

    @property
    def scored_in_training(self) -> str:
        """Split scored during training, in the journal's "validation" rows."""
        return "test" if self.option("training", "selection") == "test" else "validation"


def read_content(path: Path) -> RunContent:
    """Read a run folder.

    Raises:
        UserError: If it is not a run folder, or its recipe or a summary cannot be read.
    """
    run = RunFolder.require(path)
    return RunContent(
        folder=run,
        recipe=run.tables,
        recipe_text=run.recipe_text,
        environment=run.environment,
        journal=run.journal,
        evaluations=tuple(_evaluation(found) for found in run.evaluations),
        batches=run.pictures,
        plan=run.plan,
        training_by="" if run.finished else worker(path),
    )


def _evaluation(folder: EvaluationFolder) -> Evaluation:
    cases = _cases(folder.cases() or ())
    cases.sort(key=lambda case: (2.0 if (dice := case.mean("dice")) is None else dice, case.case))
    return Evaluation(folder.split, folder.summary(), tuple(cases), folder.pictures)


def _cases(rows: Iterable[Mapping[str, Any]]) -> list[CaseScores]:
    """Gather the rows of cases.csv, one per case, view and class, into one entry per case.

    Only the Dice of single views is kept.
    """
    cases: dict[str, CaseScores] = {}
    for row in rows:
        name, index, view = row.get("case") or "", row.get("class") or "", row.get("view")
        if not name:
            continue
        case = cases.setdefault(name, CaseScores(name, row.get("patient") or ""))
        if view:
            if view != OTHER_CLEAN_UP:
                case.views.setdefault(view, {})[index] = number(row.get("dice"))
            continue
        case.classes[index] = {metric: number(row.get(metric)) for metric in METRICS}
        if row.get("empty"):
            case.empty.append((index, row["empty"]))
    return list(cases.values())


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
