"""Report section on an evaluation: tables of classes, views and cases, and the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from crossview.core.text import NOTHING, count, number, percent
from crossview.evaluation.scores import is_the_answer
from crossview.reporting.content import CaseScores, Evaluation, RunContent
from crossview.reporting.images import BUDGET, Embedded, embed
from crossview.reporting.verdict import bounds
from crossview.reporting.words import METRICS, OVERLAPS, distance, interval, metric, table

FEATURED_BUDGET = 420_000


KINDS = {
    "missed": "missed",
    "elsewhere": "found only in the wrong place",
    "spurious": "found where there is none",
    "both_empty": "absent and correctly not found: not counted",
}


def case_anchor(evaluation: int, case: int) -> str:
    """Return the anchor of a case's picture; a number, because names may contain anything."""
    return f"e{evaluation}-case-{case}"


def case_row(evaluation: int, case: int) -> str:
    """Return the anchor of a case's row in the table."""
    return f"e{evaluation}-row-{case}"


@dataclass
class Shown:
    """Pictures that fit in the page, and the large one at its top."""

    images: dict[Path, Embedded] = field(default_factory=dict)
    featured: dict[str, Any] | None = None

    @classmethod
    def of(cls, run: RunContent) -> Shown:
        """Embed the first evaluation's median case, large, and others that fit, worst first."""
        shown = cls()
        large = None
        if run.evaluations:
            large = shown._feature(run.evaluations[0])
        for evaluation in run.evaluations:
            paths = [
                path
                for case in evaluation.cases
                if (path := evaluation.pictures.get(case.case)) is not None and path != large
            ]
            shown.images |= embed(paths, (BUDGET - FEATURED_BUDGET) // len(run.evaluations))
        return shown

    def _feature(self, evaluation: Evaluation) -> Path | None:
        scored = [
            index
            for index, case in enumerate(evaluation.cases)
            if case.mean("dice") is not None and case.case in evaluation.pictures
        ]
        if not scored:
            return None
        index = scored[len(scored) // 2]
        case = evaluation.cases[index]
        path = evaluation.pictures[case.case]
        image = embed([path], FEATURED_BUDGET).get(path)
        if image is None:
            return None
        self.images[path] = image
        self.featured = {
            "case": case.case,
            "split": evaluation.split,
            "dice": percent(case.mean("dice")),
            "image": image,
            "anchor": case_anchor(0, index),
            "path": path,
        }
        return path


def evaluation_part(evaluation: Evaluation, index: int, shown: Shown) -> dict[str, Any]:
    """Return the contents of the template for an evaluation."""
    summary = evaluation.summary
    unit = str(summary.get("unit") or "voxel")
    views = table(summary.get("views"))
    view_names = sorted(
        {
            name
            for case in evaluation.cases
            for name in case.views
            if not is_the_answer(table(views.get(name)), summary)
        }
    )
    cases = [
        _case(case, number_, index, evaluation, view_names, shown)
        for number_, case in enumerate(evaluation.cases)
    ]
    large = shown.featured["anchor"] if shown.featured else None
    gallery = [case for case in cases if case["image"] is not None and case["anchor"] != large]
    for before, after in pairwise(gallery):
        before["after"], after["before"] = after["anchor"], before["anchor"]
    missing = len(evaluation.pictures) - sum(case["image"] is not None for case in cases)
    return {
        "anchor": f"e{index}",
        "split": evaluation.split,
        "unit": unit,
        "about": _about(summary),
        "metrics": [
            (METRICS[name], "%" if name in OVERLAPS else unit) for name in _metrics(summary)
        ],
        "rows": _class_rows(evaluation),
        "class_names": list(evaluation.classes.values()) if len(evaluation.classes) > 1 else [],
        "views": _view_rows(evaluation),
        "otherwise": _otherwise(summary),
        "empty": _empty(evaluation),
        "view_names": view_names,
        "cases": cases,
        "flagged": any(case["remark"] for case in cases),
        "gallery": gallery,
        "unshown": f"{count(missing, 'more picture')} in "
        f"evaluation/{evaluation.split}/pictures/ of the run folder."
        if missing > 0
        else "",
    }


def _about(summary: Mapping[str, Any]) -> str:
    checkpoint, step = summary.get("checkpoint"), number(summary.get("step"))
    parts = (
        [f"Checkpoint {checkpoint}" + (f", step {int(step):,}" if step is not None else "")]
        if checkpoint
        else []
    )
    parts += [f"clean-up: {summary['clean_up']}"] if summary.get("clean_up") else []
    cases = summary.get("cases") or []
    return "; ".join([*parts, *([count(len(cases), "case")] if cases else [])]) + "."


def _metrics(summary: Mapping[str, Any]) -> list[str]:
    mean = table(summary.get("mean"))
    return [name for name in ("dice", "jaccard", "hd95", "asd", "assd") if name in mean]


def _class_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return one row per class, and their mean if there are several."""
    names, classes = evaluation.classes, table(evaluation.summary.get("classes"))
    rows = [
        {
            "name": name,
            "total": False,
            "cells": _cells(table(classes[index]), _metrics(evaluation.summary)),
        }
        for index, name in names.items()
    ]
    if len(rows) != 1:
        rows.append(
            {
                "name": "mean",
                "total": True,
                "cells": _cells(
                    table(evaluation.summary.get("mean")), _metrics(evaluation.summary)
                ),
            }
        )
    return rows


def _cells(scores: Mapping[str, Any], metrics: Sequence[str]) -> list[dict[str, str]]:
    cells = []
    for name in metrics:
        of_metric = table(scores.get(name))
        sd = metric(name, of_metric.get("sd"))
        show = percent if name in OVERLAPS else distance
        cells.append(
            {
                "mean": metric(name, of_metric.get("mean")),
                "sd": "" if sd == NOTHING else sd,
                "interval": interval(*bounds(of_metric), show),
            }
        )
    return cells


def _view_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a row per view; none for a method with one network.

    The last row is the result: one of the views, or all views together.
    """
    views = table(evaluation.summary.get("views"))
    if len(views) < 2:
        return []
    rows = [(name, table(scores), False) for name, scores in views.items()]
    answers = [row for row in rows if is_the_answer(row[1], evaluation.summary)]
    if len(answers) == 1:  # with two equal views, either may be the answer
        name, scores, _ = answers[0]
        others = [row for row in rows if row[0] != name]
        return [_view_row(*row[:2], evaluation, False) for row in others] + [
            _view_row(f"{name}: the result", scores, evaluation, True)
        ]
    return [
        _view_row(name, scores, evaluation, total)
        for name, scores, total in [*rows, ("together", evaluation.summary, True)]
    ]


def _view_row(
    name: str, scores: Mapping[str, Any], evaluation: Evaluation, total: bool
) -> dict[str, Any]:
    classes, mean = table(scores.get("classes")), table(scores.get("mean"))
    return {
        "name": name,
        "total": total,
        "classes": [_mean(table(classes.get(index)), "dice") for index in evaluation.classes]
        if len(evaluation.classes) > 1
        else [],
        "dice": _mean(mean, "dice"),
        "interval": interval(*bounds(table(mean.get("dice")))),
        "hd95": _mean(mean, "hd95"),
        "asd": _mean(mean, "asd"),
    }


def _mean(scores: Mapping[str, Any], name: str) -> str:
    """Return a mean score as text; ``scores`` has plain numbers or tables with a mean."""
    value = scores.get(name)
    return metric(name, value.get("mean") if isinstance(value, Mapping) else value)


def _otherwise(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the scores as reported, with the other clean-up, and by other rules for empties."""
    other = table(summary.get("other_cleanup"))
    if "largest_component" in other:
        clean_up = (
            "with the largest component only" if other["largest_component"] else "without clean-up"
        )
    else:
        clean_up = f"clean-up: {other.get('clean_up', 'the other way')}"
    ways = [(f"as reported, clean-up: {summary.get('clean_up', 'none')}", summary)]
    ways += [(clean_up, other)] if other.get("mean") else []
    released = table(summary.get("released_convention"))
    ways += (
        [
            (
                "an empty prediction or label counts as Dice 0 and distance 0, "
                "as in released scripts",
                released,
            )
        ]
        if released.get("mean")
        else []
    )
    rows = [
        {
            "name": name,
            "cells": [
                _mean(table(scores.get("mean")), key) for key in ("dice", "jaccard", "hd95", "asd")
            ],
        }
        for name, scores in ways
    ]
    mean = table(summary.get("mean"))
    if (
        any(table(entry).get("kind") == "missed" for entry in summary.get("empty") or [])
        and "hd95_penalised" in mean
    ):
        penalised = metric("hd95", table(mean["hd95_penalised"]).get("mean"))
        rows.append(
            {
                "name": "a missed structure has the image's diagonal as its HD95",
                "cells": [NOTHING, NOTHING, penalised, NOTHING],
            }
        )
    return rows


def _empty(evaluation: Evaluation) -> list[str]:
    """Return a sentence per empty structure."""
    names = evaluation.classes
    sentences = []
    for entry in evaluation.summary.get("empty") or []:
        found = table(entry)
        index, kind = str(found.get("class")), str(found.get("kind"))
        sentences.append(
            f"{found.get('case')}: {names.get(index, f'class {index}')} {KINDS.get(kind, kind)}."
        )
    return sentences


def _case(
    case: CaseScores,
    position: int,
    index: int,
    evaluation: Evaluation,
    views: Sequence[str],
    shown: Shown,
) -> dict[str, Any]:
    path = evaluation.pictures.get(case.case)
    image = shown.images.get(path) if path is not None else None
    dice = case.mean("dice")
    names = evaluation.classes
    kinds = {class_: kind for class_, kind in case.empty if kind != "both_empty"}
    kinds = {
        class_: "elsewhere" for class_, scores in case.classes.items() if scores.get("dice") == 0
    } | kinds
    return {
        "case": case.case,
        "anchor": case_anchor(index, position),
        "row": case_row(index, position),
        "link": image is not None,
        "image": image,
        "before": None,
        "after": None,
        "dice": percent(dice),
        "share": f"{max(0.0, min(1.0, dice or 0.0)):.3f}",
        "classes": [percent(case.classes.get(class_, {}).get("dice")) for class_ in names]
        if len(names) > 1
        else [],
        "views": [percent(case.view_dice(view)) for view in views],
        "jaccard": percent(case.mean("jaccard")),
        "hd95": distance(case.mean("hd95")),
        "asd": distance(case.mean("asd")),
        "remark": "; ".join(
            f"{names.get(class_, f'class {class_}')} {KINDS.get(kind, kind)}"
            for class_, kind in kinds.items()
        ),
    }
