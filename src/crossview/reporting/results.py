"""Results of an evaluation, as its section shows them: classes, views, cases and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from crossview.core.text import array, number, table
from crossview.evaluation.metrics import METRICS
from crossview.evaluation.patients import cases_of
from crossview.evaluation.scores import is_the_answer
from crossview.reporting.content import CaseScores, Estimate, Evaluation, RunContent, estimates
from crossview.reporting.images import BUDGET, Embedded, embed

FEATURED_BUDGET = 420_000

KINDS = {
    "missed": "missed",
    "elsewhere": "found only in the wrong place",
    "spurious": "found where there is none",
    "both_empty": "absent and correctly not found: not counted",
}

RELEASED = "an empty prediction or label counts as Dice 0 and distance 0, as in released scripts"
PENALISED = "a missed structure has the image's diagonal as its HD95"


@dataclass(frozen=True)
class ScoreRow:
    """Row of a table of scores: all metrics, and the Dice of each class."""

    name: str
    scores: Mapping[str, Estimate]
    classes: tuple[Estimate, ...] = ()
    total: bool = False


@dataclass(frozen=True)
class Pictures:
    """Pictures that fit in the page, by path, and the large one at its top."""

    images: Mapping[Path, Embedded] = field(default_factory=dict)
    featured: Path | None = None

    @classmethod
    def of(cls, run: RunContent) -> Pictures:
        """Embed the first evaluation's median case, large, and others that fit, worst first."""
        scored = [
            path
            for evaluation in run.evaluations[:1]
            for case, path in evaluation.pictured()
            if case.mean("dice") is not None
        ]
        middle = len(scored) // 2
        images = embed(scored[middle : middle + 1], FEATURED_BUDGET)
        featured = next(iter(images), None)
        for evaluation in run.evaluations:
            paths = [path for _, path in evaluation.pictured() if path != featured]
            images |= embed(paths, (BUDGET - FEATURED_BUDGET) // len(run.evaluations))
        return cls(images, featured)


@dataclass(frozen=True)
class CaseRow:
    """Case of an evaluation, with the anchors of its row in the table and of its picture."""

    scores: CaseScores
    row: str
    anchor: str
    image: Embedded | None
    featured: bool
    remark: str


def row_anchor(evaluation: int, case: int) -> str:
    """Return the anchor of a case's row; a number, because names may contain anything."""
    return f"e{evaluation}-row-{case}"


@dataclass(frozen=True)
class ResultsSection:
    """Section of an evaluation, the ``index``-th of its run."""

    evaluation: Evaluation
    index: int = 0
    pictures: Pictures = Pictures()

    @property
    def summary(self) -> Mapping[str, Any]:
        return self.evaluation.summary

    @property
    def about(self) -> str:
        """Checkpoint, clean-up and number of cases."""
        checkpoint, step = self.summary.get("checkpoint"), number(self.summary.get("step"))
        parts = []
        if checkpoint:
            at = f", step {int(step):,}" if step is not None else ""
            parts.append(f"Checkpoint {checkpoint}{at}")
        if self.summary.get("clean_up"):
            parts.append(f"clean-up: {self.summary['clean_up']}")
        if cases := len(array(self.summary.get("cases"))):
            parts.append(cases_of(cases, self.evaluation.patients or cases))
        return "; ".join(parts) + "."

    @property
    def metrics(self) -> list[str]:
        mean = table(self.summary.get("mean"))
        return [name for name in METRICS if name in mean]

    @property
    def class_names(self) -> dict[str, str]:
        """Class names by index; none if there is one class, which is the mean."""
        names = self.evaluation.classes
        return names if len(names) > 1 else {}

    @property
    def class_rows(self) -> list[ScoreRow]:
        """One row per class, and their mean if there are several."""
        classes = table(self.summary.get("classes"))
        rows = [
            ScoreRow(name, estimates(classes[index]))
            for index, name in self.evaluation.classes.items()
        ]
        mean = ScoreRow("mean", self.evaluation.scores, total=True)
        return rows if len(rows) == 1 else [*rows, mean]

    @property
    def view_rows(self) -> list[ScoreRow]:
        """One row per view, the result last: one of the views, or all of them together.

        None for a method with one network.
        """
        views = self.evaluation.views
        if len(views) < 2:
            return []
        answers = [name for name, view in views.items() if is_the_answer(view, self.summary)]
        if len(answers) == 1:
            [answer] = answers
            others = [name for name in views if name != answer]
            last = self._view_row(f"{answer}: the result", views[answer], total=True)
        else:  # with two equal views, either may be the answer
            others, last = list(views), self._view_row("together", self.summary, total=True)
        return [*(self._view_row(name, views[name]) for name in others), last]

    def _view_row(self, name: str, view: Mapping[str, Any], total: bool = False) -> ScoreRow:
        classes = table(view.get("classes"))
        dice = tuple(estimates(classes.get(index))["dice"] for index in self.class_names)
        return ScoreRow(name, estimates(view.get("mean")), dice, total)

    @property
    def rules(self) -> list[ScoreRow]:
        """Scores as reported, with the other clean-up, and by other rules for empty structures."""
        other = table(self.summary.get("other_cleanup"))
        if "largest_component" in other:
            only = other["largest_component"]
            clean_up = "with the largest component only" if only else "without clean-up"
            if self.summary.get("minimum_volume"):
                clean_up = f"{'only' if only else 'not only'} the largest component"
        else:
            clean_up = f"clean-up: {other.get('clean_up', 'the other way')}"
        mean = table(self.summary.get("mean"))
        missed = any(entry.get("kind") == "missed" for entry in self.evaluation.empty)
        penalised = mean.get("hd95_penalised") if missed else None
        others = {
            clean_up: other.get("mean"),
            RELEASED: table(self.summary.get("released_convention")).get("mean"),
            PENALISED: {"hd95": penalised} if penalised else None,
        }
        reported = f"as reported, clean-up: {self.summary.get('clean_up', 'none')}"
        return [
            ScoreRow(reported, estimates(mean)),
            *(ScoreRow(name, estimates(scores)) for name, scores in others.items() if scores),
        ]

    @property
    def empty(self) -> list[str]:
        """A sentence per empty structure."""
        return [
            f"{entry.get('case')}: {self._found(str(entry.get('class')), str(entry.get('kind')))}."
            for entry in self.evaluation.empty
        ]

    def _found(self, index: str, kind: str) -> str:
        name = self.evaluation.classes.get(index, f"class {index}")
        return f"{name} {KINDS.get(kind, kind)}"

    @property
    def view_names(self) -> list[str]:
        """Names of the views that are scored per case and are not the result."""
        views = self.evaluation.views
        found = {name for case in self.evaluation.cases for name in case.views}
        return sorted(
            name for name in found if not is_the_answer(views.get(name, {}), self.summary)
        )

    @cached_property
    def cases(self) -> list[CaseRow]:
        """All cases, worst first."""
        return [self._case(place, case) for place, case in enumerate(self.evaluation.cases)]

    def _case(self, place: int, case: CaseScores) -> CaseRow:
        path = self.evaluation.pictures.get(case.case)
        kinds = {
            index: "elsewhere" for index, scores in case.classes.items() if scores.get("dice") == 0
        } | {index: kind for index, kind in case.empty if kind != "both_empty"}
        return CaseRow(
            case,
            row=row_anchor(self.index, place),
            anchor=f"e{self.index}-case-{place}",
            image=self.pictures.images.get(path) if path else None,
            featured=path is not None and path == self.pictures.featured,
            remark="; ".join(self._found(index, kind) for index, kind in kinds.items()),
        )

    @property
    def gallery(self) -> list[CaseRow]:
        """Cases with a picture, but for the large one."""
        return [case for case in self.cases if case.image and not case.featured]

    @property
    def unshown(self) -> int:
        """Number of pictures that did not fit in the page."""
        return len(self.evaluation.pictures) - sum(case.image is not None for case in self.cases)
