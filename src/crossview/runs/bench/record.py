"""Records: a run as one small file with its curves and scores, without weights or images."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossview.core.files import write_text
from crossview.core.run_folder import read_journal
from crossview.evaluation.finished import FORMAT, as_columns, method_label, place
from crossview.evaluation.scores import read_cases, read_summary
from crossview.recipe.layers import read_tables
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
"""The folders of an absolute path, which mean nothing on another machine."""


def record(run: Run, split: str = "test", note: str = "") -> dict[str, Any]:
    """Return the content of a run's record. Raise UserError for a run without an evaluation.

    Paths are cut to their last part, and the folder of the data is omitted. note: a remark that a
    reader of the run needs.
    """
    rows = list(read_journal(run.path / "journal.jsonl"))
    steps = [row for row in rows if row["kind"] == "step"]
    thinned = steps[:: max(1, len(steps) // STEPS_KEPT)]
    environment = {name: value for name, value in run.environment.items() if name != "data"}
    environment["command"] = FOLDERS.sub("", str(environment.get("command", "")))
    folder = run.path / "evaluation" / split
    end: Mapping[str, Any] = next((row for row in rows if row["kind"] == "finished"), {})
    return {
        "format": FORMAT,
        "suite": dict(place(run.path)) or None,
        "note": note,
        "total_steps": end.get("total_step"),
        "training_seconds": end.get("seconds"),
        "recipe": read_tables(run.path / "recipe.toml"),
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
    """Write a record, a line per key, case's view, validation and logged step. Return ``file``."""
    return write_text(file, f"{_text(content)}\n")


def file_name(run: Run, tag: str = "") -> str:
    """Return the name of a run's record: by its place in a suite, else by its recipe."""
    member, recipe = (
        place(run.path),
        read_tables(run.path / "recipe.toml"),
    )  # raw: the plugin need not be installed here
    row, setting = (
        member.get("label") or method_label(recipe["method"]),
        member.get("setting") or recipe.get("setting", ""),
    )
    return record_name(str(setting), str(row), int(recipe["training"]["seed"]), tag)


def _short(value: Any) -> Any:
    """Return ``value`` with floats rounded to six significant digits."""
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _text(value: Any, depth: int = 0) -> str:
    """Return JSON with a line per key of the outer objects and per object of a list."""
    if isinstance(value, Mapping) and depth < 2:
        lines = [f"{json.dumps(key)}: {_text(inner, depth + 1)}" for key, inner in value.items()]
        return "{\n" + ",\n".join(lines) + "\n}" if lines else "{}"
    if isinstance(value, list) and value and all(isinstance(inner, Mapping) for inner in value):
        return "[\n" + ",\n".join(json.dumps(inner) for inner in value) + "\n]"
    return json.dumps(value)
