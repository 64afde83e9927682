"""Finished and evaluated runs, read from their folders or records for a comparison.

A run's record: one small JSON file that can replace its folder in a table.

:mod:`crossview.record` writes it. It holds the score of every case as columns, so a table can be
made from records alone, on another machine, without weights or images.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem, UserError, fail
from crossview.core.run_folder import Row, RunFolder
from crossview.evaluation.bootstrap import mean_of_means
from crossview.evaluation.metrics import METRICS, Measures
from crossview.evaluation.scores import (
    COMBINED,
    STATISTICS,
    Score,
    Summary,
    check_format,
    read_cases,
    read_summary,
    table,
)

NOT_IDENTITY = frozenset(
    {"inference.batch"}
    | {
        f"training.{key}"
        for key in (
            "seed",
            "device",
            "precision",
            "compile",
            "deterministic",
            "workers",
            "memory_gb",
        )
    }
    | {f"training.{key}_every" for key in ("checkpoint", "evaluate", "log", "picture")}
)
"""Keys that may differ between the seeds of one method.

They say where and how a run was trained, not what it is.
"""


NEWER: Mapping[str, Any] = {"data.foreground_share": 0.0, "method.ready_dice": 0.0}
"""Keys added after runs that are still compared, with the values that those runs used."""


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


@dataclass(frozen=True)
class FinishedRun:
    """A run's recipe and scores.

    Attributes:
        method: The label of its row.
        identity: The flat recipe without the keys that may differ between seeds.
        cases: Sorted.
        values: metric -> (cases, classes), NaN where there is none.
        empty: Number of predictions by kind of empty mask.
        partial: True if the split holds more cases than were scored.
        labelled: Ids of the labelled training cases, in order; empty if not recorded.
        training_cases: Fingerprint of the labelled and unlabelled training cases; "" if the run
            used no unlabelled ones or does not record it.
        protocol: "equal" or "published" for a run of a suite, else "".
        reference: See :class:`Membership`.
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
    scoring_seconds: float = 0.0
    protocol: str = ""
    reference: bool = False

    def mean(self, metric: str) -> float:
        """Return the mean over cases, then over classes; NaN where nothing counts."""
        return mean_of_means(self.values[metric])


@dataclass(frozen=True)
class _Parts:
    """The content of a run's folder or record. place: bench.json, {} for a run of no suite."""

    recipe: Mapping[str, Any]
    steps: int
    seconds: float
    summary: Summary
    scores: Sequence[Score]
    environment: Mapping[str, Any]
    place: Mapping[str, Any]


_MISFITS = (KeyError, TypeError, ValueError, AttributeError)


def read_run(path: Path, split: str) -> FinishedRun:
    """Read a run from its folder, or from its record (a file).

    Raises:
        UserError: If it is neither, is not finished, has no evaluation of its end on the split, or
            is a record of an older version.
    """
    try:
        parts = _of_record(path) if path.is_file() else _of_folder(path, split)
        if parts.summary.get("split") != split:
            found = str(parts.summary.get("split"))
            raise UserError(
                Problem(
                    "the summary is of another split",
                    str(path),
                    found,
                    split,
                    "evaluate the run again",
                )
            )
        _check_step(path, parts.steps, parts.summary)
        return _assemble(path, parts)
    except _MISFITS as error:
        found = f"{type(error).__name__}: {error}"
        raise UserError(
            Problem(
                "the run's files don't fit together", str(path), found, fix="evaluate the run again"
            )
        ) from error


def _of_folder(path: Path, split: str) -> _Parts:
    run = RunFolder.require(path)
    recipe, finished, folder = run.tables, _finished(run), run.evaluation(split)
    return _Parts(
        recipe,
        int(finished["total_step"]),
        float(finished["seconds"]),
        read_summary(folder),
        read_cases(folder),
        run.environment,
        run.place,
    )


def _of_record(path: Path) -> _Parts:
    record = read_record(path)
    summary = check_format(record["summary"], path)
    end = int(record["total_steps"]), float(record["training_seconds"])
    return _Parts(
        record["recipe"],
        *end,
        summary,
        from_columns(record["cases"]),
        record["environment"],
        record.get("suite") or {},
    )


def _finished(run: RunFolder) -> Row:
    """Return the journal's row of the end of training. Raise UserError if there is none."""
    journal = run.journal
    if journal.end is None:
        fail(
            "the run is not finished",
            run.path,
            found=f"stopped after {journal.total_step} steps",
            fix=run.command("train", "--resume"),
        )
    return journal.end


def _check_step(path: Path, end: int, summary: Summary) -> None:
    """Refuse an evaluation made before the run was resumed.

    The journal does not say which step was best, so any step up to the end is accepted for the
    selected checkpoint.
    """
    step = int(summary["step"])
    if step > end or (summary["checkpoint"] == "last" and step != end):
        found, expected = (
            f"the evaluation is of step {step:,}",
            f"step {end:,}, where the run ended",
        )
        fix = RunFolder(path).command("evaluate")
        raise UserError(
            Problem(
                "the evaluation does not belong to the finished run",
                str(path),
                found,
                expected,
                fix,
            )
        )


def _assemble(path: Path, parts: _Parts) -> FinishedRun:
    recipe, summary, environment, member = (
        parts.recipe,
        parts.summary,
        parts.environment,
        _member(parts.place),
    )
    combined = sorted(
        (score for score in parts.scores if score.view == COMBINED), key=lambda score: score.case
    )
    classes = [int(label_class) for label_class in summary["classes"]]
    cases = tuple(dict.fromkeys(score.case for score in combined))
    if list(cases) != sorted(summary["cases"]) or len(combined) != len(cases) * len(classes):
        raise ValueError("the table of cases and the summary have different cases or classes")
    values = {metric: table(combined, classes, STATISTICS[metric])[0] for metric in METRICS}
    kinds = [score.measures.empty for score in combined if score.measures.empty]
    idle = ("training.unlabelled_batch",) if environment.get("unlabelled") == 0 else ()
    return FinishedRun(
        path=path,
        method=member.label if member else method_label(recipe["method"]),
        setting=member.setting
        if member
        else str(recipe.get("setting") or recipe["data"]["source"]),
        seed=int(recipe["training"]["seed"]),
        steps=parts.steps,
        seconds=parts.seconds,
        selection=str(summary["selection"]),
        checkpoint=str(summary["checkpoint"]),
        unit=str(summary["unit"]),
        precision=str(recipe["training"].get("precision", "")),
        identity={key: value for key, value in identity(recipe).items() if key not in idle},
        class_names=tuple(
            str(summary["classes"][str(label_class)]["name"]) for label_class in classes
        ),
        cases=cases,
        patients=tuple(table(combined, classes, STATISTICS["dice"])[1]),
        values=values,
        empty={kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        partial=bool(summary.get("partial")),
        notes=tuple(str(note) for note in summary["notes"]),
        labelled=tuple(map(str, environment.get("labelled", ()))),
        training_cases=str(environment.get("training_cases", ""))
        if environment.get("unlabelled")
        else "",
        scoring_seconds=float(summary.get("seconds") or 0.0),
        protocol=member.protocol if member else "",
        reference=bool(member and member.reference),
    )


def place(path: Path) -> Mapping[str, Any]:
    """Return the content of a run's bench.json, or its copy in the run's record.

    Return {} for a run of no suite and for a record that cannot be read.
    """
    return _in_record(path, "suite") if path.is_file() else RunFolder(path).place


def membership(path: Path) -> Membership | None:
    """Return a run's place in a suite, by its folder or record; None for a run of no suite."""
    return _member(place(path))


def _member(content: Mapping[str, Any]) -> Membership | None:
    if not content:
        return None
    texts = {name: str(content.get(name, "")) for name in ("suite", "protocol", "setting", "label")}
    return Membership(**texts, reference=bool(content.get("reference")))


def environment(path: Path) -> Mapping[str, Any]:
    """Return environment.json of a run's folder, or its copy in a record; {} if unreadable."""
    return _in_record(path, "environment") if path.is_file() else RunFolder(path).environment


def _in_record(path: Path, key: str) -> Mapping[str, Any]:
    try:
        found = read_record(path)[key]
    except (UserError, KeyError):
        return {}
    return found if isinstance(found, dict) else {}


def method_label(method: Mapping[str, Any]) -> str:
    """Return the method's name in a table.

    The label also names a variant other than the corrected one, and a method without its second
    stage, which is labelled-only training.
    """
    label = str(method["name"])
    if method.get("variant", "corrected") != "corrected":
        label += f" ({method['variant']})"
    return f"{label} labelled only" if method.get("train_steps") == 0 else label


def identity(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a recipe is, apart from its seed and the machine.

    Its keys are "table.key", without those of NOT_IDENTITY.
    """
    best = recipe["training"].get("selection", "last") != "last"
    free = (
        NOT_IDENTITY - {"training.evaluate_every"} if best else NOT_IDENTITY
    )  # how often it is scored is part of picking the best
    flat = {
        f"{table}.{key}": value
        for table, keys in recipe.items()
        if isinstance(keys, Mapping)
        for key, value in keys.items()
    }
    return {key: value for key, value in {**NEWER, **flat}.items() if key not in free}


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
