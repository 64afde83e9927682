"""Finished and evaluated runs, typed for a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import fail
from crossview.core.journal import LABELLED_STAGE_ONLY
from crossview.core.run_folder import RunFolder
from crossview.evaluation.bootstrap import mean_of_means
from crossview.evaluation.identity import identity
from crossview.evaluation.metrics import METRICS
from crossview.evaluation.record import Results, run_or_record
from crossview.evaluation.scores import COMBINED, Score, Summary
from crossview.evaluation.summary import STATISTICS, shown_unit, table

START = "from"
"""Key of a run's identity: the weights that a warm start began with."""


@dataclass(frozen=True)
class Membership:
    """A run's place in a suite.

    Attributes:
        suite: The name of the suite.
        protocol: "equal" or "published".
        setting: The setting of its row in the table.
        label: The label of its row in the table.
        reference: True for a row that was given more than the others (all labels) and does not
            compete with them.
    """

    suite: str
    protocol: str
    setting: str
    label: str
    reference: bool = False

    @classmethod
    def of(cls, place: Mapping[str, Any]) -> Membership:
        """Return the content of bench.json, typed. Missing texts are empty."""
        names = ("suite", "protocol", "setting", "label")
        texts = {name: str(place.get(name, "")) for name in names}
        return cls(**texts, reference=bool(place.get("reference")))


def membership(path: Path) -> Membership | None:
    """Return a run's place in a suite, by its folder or record; None for a run of no suite."""
    place = run_or_record(path).place
    return Membership.of(place) if place else None


@dataclass(frozen=True)
class FinishedRun:
    """A run's recipe and scores.

    Attributes:
        method: The label of its row, without what ``stages`` adds.
        identity: The flat recipe without the keys that may differ between seeds.
        cases: Sorted.
        values: metric -> (cases, classes), NaN where there is none.
        empty: Number of predictions by kind of empty mask.
        partial: True if the split holds more cases than were scored.
        labelled: Ids of the labelled training cases, in order; empty if not recorded.
        training_cases: Fingerprint of the labelled and unlabelled training cases; "" if the run
            used no unlabelled ones or does not record it.
        unlabelled: Number of unlabelled training cases.
        protocol: "equal" or "published" for a run of a suite, else "".
        reference: See :class:`Membership`.
        fold: (number, of) of a run of a cross-validation, (0, of) of its pooled folds; else ().
        stages: The stages that it had, if the second one never began though the recipe has it.
    """

    path: Path
    method: str
    setting: str
    seed: int
    steps: int
    seconds: float
    selection: str
    checkpoint: str
    unit: str
    precision: str
    identity: Mapping[str, Any]
    class_names: tuple[str, ...]
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]
    empty: Mapping[str, int]
    partial: bool
    notes: tuple[str, ...]
    labelled: tuple[str, ...] = ()
    training_cases: str = ""
    unlabelled: int = 0
    scoring_seconds: float = 0.0
    protocol: str = ""
    reference: bool = False
    fold: tuple[int, ...] = ()
    stages: str = ""

    @property
    def label(self) -> str:
        """The label of its row: the method, and the stages that it had if not all."""
        return f"{self.method} ({self.stages})" if self.stages else self.method

    def mean(self, metric: str) -> float:
        """Return the mean over cases, then over classes; NaN where nothing counts."""
        return mean_of_means(self.values[metric])


def read_run(path: Path, split: str) -> FinishedRun:
    """Read a run from its folder, or from its record (a file).

    Raises:
        UserError: If it is neither, is not finished, or has no evaluation of its end on the split.
    """
    try:
        results = Results.of(run_or_record(path), split)
        _check_evaluation(path, results, split)
        return _typed(path, results)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        found = f"{type(error).__name__}: {error}"
        fix = "evaluate the run again"
        fail("the run's files don't fit together", path, found=found, fix=fix)


def _check_evaluation(path: Path, results: Results, split: str) -> None:
    """Refuse an evaluation of another split, or one made before the run was resumed.

    The journal does not say which step was best, so any step up to the end is accepted for the
    selected checkpoint.
    """
    summary, end = results.summary, results.steps
    if summary.get("split") != split:
        fail(
            "the summary is of another split",
            path,
            found=summary.get("split"),
            expected=split,
            fix="evaluate the run again",
        )
    step = int(summary["step"])
    if step > end or (summary["checkpoint"] == "last" and step != end):
        fail(
            "the evaluation does not belong to the finished run",
            path,
            found=f"the evaluation is of step {step:,}",
            expected=f"step {end:,}, where the run ended",
            fix=RunFolder(path).command("evaluate"),
        )


def _typed(path: Path, results: Results) -> FinishedRun:
    recipe, summary, environment = results.recipe, results.summary, results.environment
    setting = recipe.get("setting") or recipe["data"]["source"]
    alone = {"label": method_label(recipe), "setting": setting}
    member = Membership.of(alone | results.place)
    combined = _combined(results)
    classes = {int(index): str(of["name"]) for index, of in summary["classes"].items()}
    values = {metric: table(combined, list(classes), STATISTICS[metric]) for metric in METRICS}
    kinds = [score.measures.empty for score in combined if score.measures.empty]
    unlabelled = environment.get("unlabelled")
    idle = "training.unlabelled_batch" if unlabelled == 0 else ""
    return FinishedRun(
        path=path,
        method=member.label,
        setting=member.setting,
        seed=int(recipe["training"]["seed"]),
        steps=results.steps,
        seconds=results.seconds,
        selection=str(summary["selection"]),
        checkpoint=str(summary["checkpoint"]),
        unit=shown_unit(summary),
        precision=str(recipe["training"].get("precision", "")),
        identity={
            **{key: value for key, value in identity(recipe).items() if key != idle},
            **_labelled(environment, recipe["data"].get("fold", ())),
            **_start(environment),
            **_clean_up(summary),
        },
        class_names=tuple(classes.values()),
        cases=tuple(dict.fromkeys(score.case for score in combined)),
        patients=tuple(values["dice"][1]),
        values={metric: of_metric for metric, (of_metric, _) in values.items()},
        empty={kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        partial=bool(summary.get("partial")),
        notes=tuple(str(note) for note in summary["notes"]),
        labelled=tuple(map(str, environment.get("labelled", ()))),
        training_cases=str(environment.get("training_cases", "")) if unlabelled else "",
        unlabelled=int(unlabelled or 0),
        scoring_seconds=float(summary.get("seconds") or 0.0),
        protocol=member.protocol,
        reference=member.reference,
        fold=_fold(recipe["data"].get("fold", ())),
        stages=LABELLED_STAGE_ONLY if results.waited_in_vain else "",
    )


def _fold(found: Sequence[Any]) -> tuple[int, ...]:
    """Return the number of a fold and of folds, () for none. Raise ValueError for anything else."""
    if len(found) not in (0, 2) or not all(type(each) is int for each in found):
        raise ValueError(f"data.fold {found!r}")
    return tuple(found)


def _labelled(environment: Mapping[str, Any], fold: Sequence[Any]) -> dict[str, int]:
    """Return the number of labelled scans: of a recipe, 0 means all of them.

    Folds of one recipe have other numbers, and are the same row.
    """
    labelled = environment.get("labelled")
    return {"data.labelled": len(labelled)} if labelled and not fold else {}


def _start(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return what a warm start adds to a run's identity: the method and step of its weights."""
    start = environment.get("from")
    if not isinstance(start, Mapping):
        return {}
    return {START: f"{start.get('method')} step {start.get('step')}"}


def _clean_up(summary: Summary) -> dict[str, list[float]]:
    """Return the minimum volume of a run's scores, which need not be the one of its recipe."""
    volumes = summary.get("minimum_volume")
    return {} if volumes is None else {"inference.minimum_volume": list(map(float, volumes))}


def _combined(results: Results) -> list[Score]:
    """Return the scores of the method's own prediction, sorted by case.

    Raise ValueError unless their cases and classes are those of the summary.
    """
    own = (score for score in results.scores if score.view == COMBINED)
    combined = sorted(own, key=lambda score: score.case)
    cases = list(dict.fromkeys(score.case for score in combined))
    expected = len(cases) * len(results.summary["classes"])
    if cases != sorted(results.summary["cases"]) or len(combined) != expected:
        raise ValueError("the table of cases and the summary have different cases or classes")
    return combined


def method_label(recipe: Mapping[str, Any]) -> str:
    """Return the method's name in a table.

    The label also names a variant other than the corrected one, a method without its second stage,
    which is labelled-only training, and a student, which learns another model's predictions.
    """
    method = recipe["method"]
    label = str(method["name"])
    if method.get("variant", "corrected") != "corrected":
        label += f" ({method['variant']})"
    if method.get("train_steps") == 0:
        label += " labelled only"
    return f"student ({label})" if recipe["data"].get("predicted") else label
