"""A run's ``summary.json`` and ``cases.csv``, made from the measures of cases, and read back.

Scores are per class and case, averaged over cases, then over classes, with 95% intervals by
bootstrap over patients. Empty masks are named and counted, never silently averaged in. The
literature's convention for them is given next to ours where the two differ.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, NotRequired, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from crossview.core import text
from crossview.core.errors import fail
from crossview.core.files import write_text
from crossview.core.run_folder import CASES, SUMMARY, EvaluationFolder
from crossview.evaluation import bootstrap
from crossview.evaluation.metrics import METRICS, Empty, Measures
from crossview.evaluation.patients import of_patients, only_first

FORMAT = 1


COMBINED = ""
"""View of the method's own prediction: its networks combined, with the recipe's clean-up."""


OTHER_CLEAN_UP = "other_cleanup"


LARGEST_COMPONENT = "largest component"


COLUMNS = ("case", "patient", "view", "class", *METRICS, "empty")


Summary = dict[str, Any]


Value = Callable[[Measures], float]


class Header(TypedDict):
    """Facts about the run in a summary, besides its scores.

    clean_up: of the combined prediction. minimum_volume: of its pieces, as in [inference]. partial:
    True if the split holds more cases. dimensions: 2 for images, 3 for volumes.
    """

    split: str
    checkpoint: str
    step: int
    selection: str
    method: str
    variant: str
    setting: str
    seed: int
    clean_up: str
    minimum_volume: NotRequired[Sequence[float]]
    partial: NotRequired[bool]
    dimensions: NotRequired[int]
    notes: NotRequired[Sequence[str]]


@dataclass(frozen=True)
class Score:
    """Measures of one class of one case, as predicted by one view or by the whole method."""

    case: str
    patient: str
    view: str
    label_class: int
    measures: Measures


def summarise(
    scores: Sequence[Score],
    *,
    class_names: Sequence[str],
    unit: str,
    header: Header,
    seconds: float,
) -> Summary:
    """Return the summary of all scores of an evaluation, in the order of their cases.

    Args:
        scores: Of all cases, views and classes.
        class_names: Of all classes, background first.
        unit: Of distances, "mm" or "voxel".
        header: What the summary says of the run.
        seconds: Duration of the evaluation.
    """
    names = {str(index): name for index, name in enumerate(class_names) if index > 0}
    by_view: dict[str, list[Score]] = {}
    for score in scores:
        by_view.setdefault(score.view, []).append(score)
    combined = by_view[COMBINED]
    cases = list(dict.fromkeys(score.case for score in combined))
    tables = {name: table(combined, list(map(int, names)), STATISTICS[name]) for name in METRICS}
    patients = tables["dice"][1]
    optimistic = header["selection"] in ("test", header["split"])  # also in the scored cases
    notes = [f"selected on {header['selection']}, optimistic"] if optimistic else []
    if header.get("partial"):
        notes.append(only_first(len(cases)))
    summary: Summary = {
        "format": FORMAT,
        **{key: value for key, value in header.items() if key != "notes"},
        "unit": unit,
        "cases": cases,
        "patients": len(set(patients)),
        "by_patient": of_patients({name: values for name, (values, _) in tables.items()}, patients),
        **_group(combined, names),
        "empty": [
            {"case": score.case, "class": str(score.label_class), "kind": score.measures.empty}
            for score in combined
            if score.measures.empty
        ],
        "convention": convention(shown_unit({"unit": unit, **header})),
        "released_convention": _released(combined, names),
        "views": {
            view: _group(of_view, names)
            for view, of_view in by_view.items()
            if view not in (COMBINED, OTHER_CLEAN_UP)
        },
        "notes": [*notes, *header.get("notes", ())],
        "optimistic": optimistic,
        "seconds": seconds,
    }
    if OTHER_CLEAN_UP in by_view:
        summary["other_cleanup"] = {
            "largest_component": not header["clean_up"].startswith(LARGEST_COMPONENT),
            **_group(by_view[OTHER_CLEAN_UP], names),
        }
    return summary


def shown_unit(summary: Mapping[str, Any]) -> str:
    """Return the unit of a summary's distances in words: "voxel" is "pixel" for images."""
    unit = str(summary["unit"])
    return "pixel" if unit == "voxel" and summary.get("dimensions") == 2 else unit


def convention(unit: str) -> str:
    """Return the meaning of a summary's numbers, in one paragraph."""
    return (
        "Scores are per class and case, averaged over cases, then over classes; 95% intervals are "
        "by bootstrap over patients. "
        f"Distances in {unit}, as in medpy: hd95 is the 95th percentile of the surface distances "
        "of both directions pooled, asd the mean distance from the prediction to the truth, assd "
        "the mean of both directions pooled. A class that is empty in both prediction and truth is "
        "not counted. If only one is empty, Dice and Jaccard are 0 and there is no distance; "
        "hd95_penalised uses the image's diagonal for a missed class."
    )


def _penalised(measures: Measures) -> float:
    """Return the HD95, with the image's diagonal for a class that was missed."""
    return measures.diagonal if measures.empty == "missed" else measures.hd95


STATISTICS: dict[str, Value] = {
    **{name: attrgetter(name) for name in METRICS},
    "hd95_penalised": _penalised,
}
"""Statistics of a summary, each with the function that reads it from a case's measures."""


def table(
    scores: Sequence[Score], classes: Sequence[int], value: Value
) -> tuple[NDArray[np.float64], list[str]]:
    """Return one view's values (cases, classes), NaN where undefined, and each case's patient."""
    row = {case: index for index, case in enumerate(dict.fromkeys(score.case for score in scores))}
    column = {label_class: index for index, label_class in enumerate(classes)}
    values, patients = np.full((len(row), len(column)), np.nan), [""] * len(row)
    for score in scores:
        values[row[score.case], column[score.label_class]] = value(score.measures)
        patients[row[score.case]] = score.patient
    return values, patients


def _group(scores: Sequence[Score], names: Mapping[str, str]) -> Summary:
    """Return the statistics of one view for each class, and their mean over classes."""
    tables = [table(scores, list(map(int, names)), value) for value in STATISTICS.values()]
    values = np.concatenate([of_metric for of_metric, _ in tables], axis=1)
    resamples = bootstrap.resample(values, patients=tables[0][1])

    def statistics(columns: Sequence[int]) -> Summary:
        return _statistics(values[:, columns], resamples.interval(columns))

    classes: dict[str, Summary] = {index: {"name": name} for index, name in names.items()}
    mean: Summary = {}
    for index, metric in enumerate(STATISTICS):
        columns = range(index * len(names), (index + 1) * len(names))
        mean[metric] = statistics(columns)
        for column, of_class in zip(columns, classes.values(), strict=True):
            of_class[metric] = statistics([column])
    return {"classes": classes, "mean": mean}


def _statistics(values: NDArray[np.float64], ci95: tuple[float, float] | None) -> Summary:
    """Return mean, sd over cases (n - 1), 95% interval and n of values (cases, columns).

    A number that is not defined is null.
    """
    of_case = [float(np.nanmean(row)) for row in values if not np.isnan(row).all()]
    sd = float(np.std(of_case, ddof=1)) if len(of_case) > 1 else math.nan
    return {
        "mean": _number(bootstrap.mean_of_means(values)),
        "sd": _number(sd),
        "ci95": list(ci95) if ci95 else None,
        "n": len(of_case),
    }


def _released(scores: Sequence[Score], names: Mapping[str, str]) -> Summary:
    """Return the means with 0 for everything empty, as released evaluation scripts count.

    Return {} where nothing is empty.
    """
    indices = list(map(int, names))
    empty = table(scores, indices, lambda measures: float(bool(measures.empty)))[0] == 1
    if not empty.any():
        return {}
    classes: dict[str, Summary] = {label_class: {} for label_class in names}
    mean: Summary = {}
    for metric in METRICS:
        values = np.where(empty, 0.0, table(scores, indices, STATISTICS[metric])[0])
        mean[metric] = _number(bootstrap.mean_of_means(values))
        for column, of_class in enumerate(classes.values()):
            of_class[metric] = _number(bootstrap.mean_of_means(values[:, [column]]))
    return {"classes": classes, "mean": mean}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def write(folder: Path, summary: Summary, scores: Sequence[Score]) -> None:
    """Write ``cases.csv`` and ``summary.json`` into a folder, which is made if needed.

    Each file appears whole or not at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for score in scores:
        numbers = [getattr(score.measures, name) for name in METRICS]
        cells = ["" if math.isnan(number) else repr(float(number)) for number in numbers]
        writer.writerow(
            [score.case, score.patient, score.view, score.label_class, *cells, score.measures.empty]
        )
    write_text(folder / CASES, text.getvalue())
    write_text(
        folder / SUMMARY,
        json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    )


def read_summary(folder: EvaluationFolder) -> Summary:
    """Return the summary of an evaluation.

    Raises:
        UserError: If it is missing, broken or of another format version.
    """
    return check_format(folder.summary(), folder.path / SUMMARY)


def check_format(summary: Any, where: Path) -> Summary:
    """Return the summary. Raise UserError if it has another format version."""
    found = summary.get("format") if isinstance(summary, dict) else type(summary).__name__
    if found != FORMAT:
        fail(
            "the summary has another format version",
            where,
            found=found,
            expected=FORMAT,
            fix="evaluate the run again",
        )
    checked: Summary = summary
    return checked


def read_cases(folder: EvaluationFolder) -> list[Score]:
    """Return the scores of an evaluation's cases. Diagonals are not stored: NaN.

    Raises:
        UserError: If their table is missing or broken.
    """
    rows, path = folder.cases(), folder.path / CASES
    if rows is None:
        fail("the table of cases is missing", path, fix=folder.again)
    try:
        if not rows or tuple(rows[0]) != COLUMNS:
            raise ValueError(f"columns {list(rows[0])}" if rows else "no case")
        return [_score(row) for row in rows]
    except (ValueError, TypeError) as error:
        fail(
            "the table of cases can't be read",
            path,
            found=error,
            expected="columns " + ", ".join(COLUMNS),
            fix="evaluate the run again",
        )


def _score(row: Mapping[str, Any]) -> Score:
    numbers = {name: float(row[name]) if row[name] else math.nan for name in METRICS}
    if row["empty"] not in get_args(Empty):
        raise ValueError(f"empty {row['empty']!r}")
    measures = Measures(**numbers, diagonal=math.nan, empty=row["empty"])
    return Score(row["case"], row["patient"], row["view"], int(row["class"]), measures)


def is_the_answer(view: Mapping[str, Any], summary: Mapping[str, Any]) -> bool:
    """True if a view's scores are the method's own, because its answer is this view alone.

    A student's view is such a case. view: an entry of the summary's ``views``.
    """
    own, scores = text.table(summary.get("mean")), text.table(view.get("mean"))

    def means(of: Mapping[str, Any]) -> list[Any]:
        return [
            text.table(of.get(metric)).get("mean") for metric in ("dice", "jaccard", "hd95", "asd")
        ]

    return bool(scores) and means(scores) == means(own)
