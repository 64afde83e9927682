"""Results of a finished run, read from its folder or its record.

A record is one small JSON file that can replace the folder in a table. It holds the scores of every
case as columns and the curves of training, so tables and curves can be made on another machine,
without weights or images.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from crossview.core.busy import worker
from crossview.core.errors import UserError, fail
from crossview.core.files import write_text
from crossview.core.parse import from_json
from crossview.core.run_folder import RunFolder, Table
from crossview.evaluation.metrics import METRICS, Empty, Measures
from crossview.evaluation.scores import Score, Summary, check_format, read_cases, read_summary

FORMAT = 1


DIGITS = 6
"""Decimals of the scores; the means of a summary are reproduced to 1e-6."""


CURVE_DIGITS = 6
"""Significant digits of the numbers of a curve."""


STEPS_KEPT = 200


STEP_KEYS = (
    "stage",
    "total_step",
    "loss",
    "terms",
    "learning_rate",
    "samples_per_second",
    "data_wait",
    "seconds",
    "health",
)


WAITED_IN_VAIN = (
    "The networks did not learn enough before the last step of the labelled stage: "
    "the unlabelled scans were not used."
)
"""Note of an evaluation of such a run."""


NEEDED = ("recipe", "summary", "cases", "environment", "total_steps", "training_seconds")


EXPECTED = "a record written by `crossview bench --records` or `python -m benchmarks.record`"


FOLDERS = re.compile(r"(?<![^\s=\"'])/([^\s\"']*/)?")
"""Pattern of the folders of an absolute path, which mean nothing on another machine."""


@dataclass(frozen=True)
class Record:
    """A run's record. Optional parts read as empty if the file is missing or damaged."""

    path: Path

    @cached_property
    def content(self) -> Table:
        """The whole content. Raise UserError if the file is not a complete record."""
        try:
            content = from_json(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            found = error.strerror or error
            fail("the record can't be read", self.path, found=found, expected=EXPECTED)
        except ValueError as error:
            fail("this is not a record of a run", self.path, found=error, expected=EXPECTED)
        if not isinstance(content, dict) or not {"recipe", "summary"} <= content.keys():
            found = "JSON with other content"
            fail("this is not a record of a run", self.path, found=found, expected=EXPECTED)
        if content.get("format", FORMAT) != FORMAT:
            found = content["format"]
            fail("the record has another format version", self.path, found=found, expected=FORMAT)
        missing = [key for key in NEEDED if content.get(key) is None]
        if missing:
            found = f"no {', '.join(missing)}"
            fail("the record is incomplete", self.path, found=found, expected=EXPECTED)
        return content

    @property
    def tables(self) -> Table:
        """Raw tables of the recipe. Raise UserError if the file is not a complete record."""
        tables: Table = self.content["recipe"]
        return tables

    @property
    def environment(self) -> Table:
        return self._optional("environment")

    @property
    def place(self) -> Table:
        """Place in a suite, {} for a run of no suite."""
        return self._optional("suite")

    def _optional(self, key: str) -> Table:
        try:
            found = self.content.get(key)
        except UserError:
            return {}
        return found if isinstance(found, dict) else {}


def run_or_record(path: Path) -> RunFolder | Record:
    """Return the record if the path is a file, else the run folder."""
    return Record(path) if path.is_file() else RunFolder(path)


@dataclass(frozen=True)
class Results:
    """Raw recipe and scores of a finished run.

    Attributes:
        recipe: Tables of its recipe.
        environment: See :class:`RunFolder`.
        place: See :class:`RunFolder`.
        steps: Steps of training.
        seconds: Duration of training.
        summary: Of the evaluation of a split.
        scores: Of all cases, views and classes.
        waited_in_vain: See :class:`crossview.core.journal.History`.
    """

    recipe: Table
    environment: Table
    place: Table
    steps: int
    seconds: float
    summary: Summary
    scores: Sequence[Score]
    waited_in_vain: bool = False

    @classmethod
    def of(cls, source: RunFolder | Record, split: str) -> Results:
        """Read the results of a run. A record holds those of one split.

        Raises:
            UserError: If it is neither a run folder nor a record, is not finished, or has no
                evaluation of the split.
            KeyError, TypeError, ValueError, AttributeError: If its content is not as written.
        """
        if isinstance(source, RunFolder):
            return cls._of_folder(source, split)
        content = source.content
        return cls(
            recipe=content["recipe"],
            environment=source.environment,
            place=source.place,
            steps=int(content["total_steps"]),
            seconds=float(content["training_seconds"]),
            summary=check_format(content["summary"], source.path),
            scores=from_columns(content["cases"]),
            # A record made before this key was written says it in a note of the evaluation.
            waited_in_vain=bool(
                content.get("waited_in_vain", WAITED_IN_VAIN in content["summary"]["notes"])
            ),
        )

    @classmethod
    def _of_folder(cls, run: RunFolder, split: str) -> Results:
        recipe, journal, evaluation = run.tables, run.journal, run.evaluation(split)
        if journal.end is None:
            if by := worker(run.path):
                what, found = "the run is still training", f"{by}, at step {journal.total_step:,}"
                fail(what, run.path, found=found, fix="wait until it has finished")
            fail(
                "the run is not finished",
                run.path,
                found=f"stopped after {journal.total_step} steps",
                fix=run.command("train", "--resume"),
            )
        return cls(
            recipe=recipe,
            environment=run.environment,
            place=run.place,
            steps=int(journal.end["total_step"]),
            seconds=float(journal.end["seconds"]),
            summary=read_summary(evaluation),
            scores=read_cases(evaluation),
            waited_in_vain=journal.waited_in_vain,
        )


def make_record(run: RunFolder, split: str = "test", note: str = "") -> Table:
    """Return the content of a run's record.

    Paths lose their folders; the folder of the data is left out.

    Args:
        run: A finished run.
        split: The split whose scores are kept.
        note: What a reader must know of the run.

    Raises:
        UserError: If the run is not finished or has no evaluation of the split.
    """
    results, journal = Results.of(run, split), run.journal
    steps = journal.of("step")
    environment = {name: value for name, value in results.environment.items() if name != "data"}
    environment["command"] = FOLDERS.sub("", str(environment.get("command", "")))
    return {
        "format": FORMAT,
        "suite": results.place or None,
        "note": note,
        "total_steps": results.steps,
        "training_seconds": results.seconds,
        "waited_in_vain": results.waited_in_vain,
        "recipe": results.recipe,
        "environment": environment,
        "summary": results.summary,
        "cases": as_columns(results.scores),
        "validation": [
            _short({key: value for key, value in row.items() if key != "kind"})
            for row in journal.of("validation")
        ],
        "steps": [
            _short({key: row.get(key) for key in STEP_KEYS})
            for row in steps[:: max(1, len(steps) // STEPS_KEPT)]
        ],
    }


def write_record(file: Path, content: Mapping[str, Any]) -> Path:
    """Write a record, with a line per key, view of the cases, validation and step."""
    return write_text(file, f"{_text(content)}\n")


def as_columns(scores: Sequence[Score]) -> Table:
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
    whole = all(list(line) == list(patients) for line in lines.values())
    if not whole or len(scores) != len(lines) * len(patients):
        fail(
            "the table of cases is not the same for every view and class",
            fix="evaluate the run again",
        )
    return {
        "case": list(patients),
        "patient": list(patients.values()),
        "scores": [
            {
                "view": view,
                "class": label_class,
                **{name: [_rounded(getattr(of, name)) for of in line.values()] for name in METRICS},
                "empty": {case: of.empty for case, of in line.items() if of.empty},
            }
            for (view, label_class), line in lines.items()
        ],
    }


def from_columns(columns: Mapping[str, Any]) -> list[Score]:
    """Return the scores of columns, without the images' diagonals (NaN).

    Raises:
        KeyError, TypeError, ValueError, OverflowError: For columns that do not fit.
    """
    found = []
    for line in columns["scores"]:
        rows = zip(*(line[name] for name in METRICS), strict=True)
        for case, patient, row in zip(columns["case"], columns["patient"], rows, strict=True):
            known = (math.nan if value is None else float(value) for value in row)
            numbers = dict(zip(METRICS, known, strict=True))
            empty = line["empty"].get(case, "")
            if empty not in get_args(Empty):
                raise ValueError(f"empty {empty!r}")
            measures = Measures(**numbers, diagonal=math.nan, empty=empty)
            found.append(
                Score(str(case), str(patient), str(line["view"]), int(line["class"]), measures)
            )
    return found


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), DIGITS)


def _short(value: Any) -> Any:
    """Round the numbers of a curve."""
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    return float(f"{value:.{CURVE_DIGITS}g}") if isinstance(value, float) else value


def _text(value: Any, depth: int = 0) -> str:
    """Return JSON with a line per key of the outer objects and per object of a list."""
    if isinstance(value, Mapping) and depth < 2:
        lines = [f"{json.dumps(key)}: {_text(inner, depth + 1)}" for key, inner in value.items()]
        return "{\n" + ",\n".join(lines) + "\n}" if lines else "{}"
    if isinstance(value, list) and value and all(isinstance(inner, Mapping) for inner in value):
        return "[\n" + ",\n".join(json.dumps(inner) for inner in value) + "\n]"
    return json.dumps(value)
