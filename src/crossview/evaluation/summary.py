"""The summary of the measures of cases.

Scores are per class and case, averaged over cases, then over classes, with 95% intervals by
bootstrap over patients. Empty masks are named and counted, never silently averaged in. The
literature's convention for them is given next to ours where the two differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.evaluation import bootstrap
from crossview.evaluation.metrics import METRICS, Measures
from crossview.evaluation.patients import of_patients, only_first
from crossview.evaluation.scores import (
    COMBINED,
    FORMAT,
    LARGEST_COMPONENT,
    OTHER_CLEAN_UP,
    Header,
    Score,
    Summary,
)

Value = Callable[[Measures], float]


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
