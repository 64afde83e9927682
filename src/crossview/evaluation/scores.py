"""The shape of a run's scores, and their files: ``summary.json`` and ``cases.csv``."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict, get_args

from crossview.core import text
from crossview.core.errors import fail
from crossview.core.files import write_text
from crossview.core.run_folder import CASES, SUMMARY, EvaluationFolder
from crossview.evaluation.metrics import METRICS, Empty, Measures

FORMAT = 1


COMBINED = ""
"""View of the method's own prediction: its networks combined, with the recipe's clean-up."""


OTHER_CLEAN_UP = "other_cleanup"


LARGEST_COMPONENT = "largest component"


COLUMNS = ("case", "patient", "view", "class", *METRICS, "empty")


Summary = dict[str, Any]


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
