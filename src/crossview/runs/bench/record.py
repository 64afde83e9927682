"""Keep a run as one small file, its record: enough to draw its curves and to put it into a table again, without weights or images."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossview.core.files import write_text
from crossview.evaluation.finished import FORMAT, as_columns, method_label
from crossview.evaluation.scores import read_cases, read_summary
from crossview.runs.bench.runs import record_name
from crossview.runs.run import Run

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


FOLDERS = re.compile(r"(?<![^\s=\"'])/([^\s\"']*/)?")
"""What is in front of the last part of an absolute path: where things lay on one machine says nothing to others."""


def record(run: Run, split: str = "test", note: str = "") -> dict[str, Any]:
    """The content of a run's record. note: what a reader must know of the run. Raises UserError for a run without an evaluation.

    Paths lose their folders; the folder of the data is left out.
    """
    rows = run.journal.rows
    steps = [row for row in rows if row["kind"] == "step"]
    thinned = steps[:: max(1, len(steps) // STEPS_KEPT)]
    environment = {
        name: value for name, value in run.require_environment().items() if name != "data"
    }
    environment["command"] = FOLDERS.sub("", str(environment.get("command", "")))
    folder = run.evaluation(split)
    end: Mapping[str, Any] = run.journal.end or {}
    return {
        "format": FORMAT,
        "suite": run.place or None,
        "note": note,
        "total_steps": end.get("total_step"),
        "training_seconds": end.get("seconds"),
        "recipe": run.tables,
        "environment": environment,
        "summary": read_summary(folder),
        "cases": as_columns(read_cases(folder)),
        "validation": [
            _short({key: value for key, value in row.items() if key != "kind"})
            for row in rows
            if row["kind"] == "validation"
        ],
        "steps": [_short({key: row.get(key) for key in STEP_KEYS}) for row in thinned],
    }


def write_record(file: Path, content: Mapping[str, Any]) -> Path:
    """Write a record: a line a key, a case's view, a validation, a logged step. Returns ``file``."""
    return write_text(file, f"{_text(content)}\n")


def file_name(run: Run, tag: str = "") -> str:
    """The name of a run's record: by its place in a suite, else by its recipe."""
    member, recipe = (
        run.place,
        run.tables,
    )  # as written: a plugin's options need not be known here
    row, setting = (
        member.get("label") or method_label(recipe["method"]),
        member.get("setting") or recipe.get("setting", ""),
    )
    return record_name(str(setting), str(row), int(recipe["training"]["seed"]), tag)


def _short(value: Any) -> Any:
    """A curve's numbers to six significant digits."""
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _text(value: Any, depth: int = 0) -> str:
    """JSON with a line for each key of the outer objects and for each object of a list."""
    if isinstance(value, Mapping) and depth < 2:
        lines = [f"{json.dumps(key)}: {_text(inner, depth + 1)}" for key, inner in value.items()]
        return "{\n" + ",\n".join(lines) + "\n}" if lines else "{}"
    if isinstance(value, list) and value and all(isinstance(inner, Mapping) for inner in value):
        return "[\n" + ",\n".join(json.dumps(inner) for inner in value) + "\n]"
    return json.dumps(value)
