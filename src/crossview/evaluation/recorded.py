"""A run's record: one small JSON file that can replace its folder in a table.

:mod:`crossview.record` writes it. It holds the score of every case as columns, so a table can be
made from records alone, on another machine, without weights or images.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossview.errors import Problem, UserError
from crossview.evaluation.metrics import METRICS, Measures
from crossview.evaluation.scores import Score

FORMAT = 1
DIGITS = 6
"""Decimals of the scores; the means of a summary are reproduced to 1e-6."""
NEEDED = ("recipe", "summary", "environment", "total_steps", "training_seconds")


def as_columns(scores: Sequence[Score]) -> dict[str, Any]:
    """Return scores as columns over the cases, one entry per view and class.

    Returns:
        {"case": [...], "patient": [...], "scores": [{"view", "class", ...}]}. Numbers are rounded
        to DIGITS decimals, null where there is none; "empty" maps cases with an empty mask to its
        kind.

    Raises:
        UserError: If a view lacks a case or has one twice.
    """
    patients = {score.case: score.patient for score in scores}
    lines: dict[tuple[str, int], dict[str, Measures]] = {}
    for score in scores:
        lines.setdefault((score.view, score.label_class), {})[score.case] = score.measures
    if any(list(line) != list(patients) for line in lines.values()) or len(scores) != len(
        lines
    ) * len(patients):
        raise UserError(
            Problem(
                "the table of cases is not the same for every view and class",
                fix="evaluate the run again",
            )
        )
    return {
        "case": list(patients),
        "patient": list(patients.values()),
        "scores": [
            {
                "view": view,
                "class": label_class,
                **{
                    name: [_rounded(getattr(measures, name)) for measures in line.values()]
                    for name in METRICS
                },
                "empty": {
                    case: measures.empty for case, measures in line.items() if measures.empty
                },
            }
            for (view, label_class), line in lines.items()
        ],
    }


def from_columns(columns: Mapping[str, Any]) -> list[Score]:
    """Return the scores of columns, without the images' diagonals (NaN).

    Raises:
        KeyError, TypeError, ValueError: For columns that do not fit.
    """
    found = []
    for line in columns["scores"]:
        numbers = zip(*(line[name] for name in METRICS), strict=True)
        for case, patient, values in zip(columns["case"], columns["patient"], numbers, strict=True):
            measured = {
                name: math.nan if value is None else float(value)
                for name, value in zip(METRICS, values, strict=True)
            }
            measures = Measures(**measured, diagonal=math.nan, empty=line["empty"].get(case, ""))
            found.append(
                Score(str(case), str(patient), str(line["view"]), int(line["class"]), measures)
            )
    return found


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), DIGITS)


def read_record(path: Path) -> Mapping[str, Any]:
    """Return a record's content.

    Raises:
        UserError: If the file is not a record, or is of an older version without scores of cases.
    """
    expected = "a record written by `crossview bench --records` or `python -m benchmarks.record`"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            Problem("the record can't be read", str(path), error.strerror or str(error), expected)
        ) from None
    except ValueError as error:
        raise UserError(
            Problem("this is not a record of a run", str(path), str(error), expected)
        ) from None
    if not isinstance(content, dict) or not {"recipe", "summary"} <= content.keys():
        raise UserError(
            Problem("this is not a record of a run", str(path), "JSON with other content", expected)
        )
    if "cases" not in content:
        fix = "record the run again from its folder: python -m benchmarks.record RUN"
        raise UserError(
            Problem(
                "the record is of an older version, without the scores of its cases",
                str(path),
                fix=fix,
            )
        )
    if content.get("format") != FORMAT:
        raise UserError(
            Problem(
                "the record has another format version",
                str(path),
                str(content.get("format")),
                str(FORMAT),
            )
        )
    missing = [key for key in NEEDED if content.get(key) is None]
    if missing:
        raise UserError(
            Problem("the record is incomplete", str(path), f"no {', '.join(missing)}", expected)
        )
    return content
