"""Keep results as files: ``python -m benchmarks.record RUN...`` writes benchmarks/results/<setting>-<row>-seed<k>[-tag].json for each run.

What is kept: the summary, the validation curve, the loss curve, the resolved recipe, environment, versions, commit, command, seed.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crossview.evaluation.finished import membership, method_label
from crossview.files import write_text
from crossview.folder import Run
from crossview.suite import slug
from crossview.training.journal import read_journal

RESULTS = Path(__file__).parent / "results"
STEPS_KEPT = 200
FOLDERS = re.compile(r"(?<![^\s=\"'])/([^\s\"']*/)?")
"""What is in front of the last part of an absolute path: where things lay on one machine says nothing to others."""


def record(run: Run, split: str = "test", note: str = "") -> dict[str, Any]:
    """The content of one results file. Raises UserError for a folder that is no run."""
    rows = list(read_journal(run.path / "journal.jsonl"))
    steps = [row for row in rows if row["kind"] == "step"]
    keys = ("stage", "total_step", "loss", "terms", "learning_rate", "samples_per_second", "data_wait", "seconds", "health")
    thinned = steps[:: max(1, len(steps) // STEPS_KEPT)]
    environment = {name: value for name, value in run.environment.items() if name != "data"}
    environment["command"] = FOLDERS.sub("", str(environment.get("command", "")))
    member = membership(run.path)
    return {
        "suite": asdict(member) if member else None,
        "summary": json.loads((run.path / "evaluation" / split / "summary.json").read_text(encoding="utf-8")),
        "validation": [{key: value for key, value in row.items() if key != "kind"} for row in rows if row["kind"] == "validation"],
        "steps": [{key: row.get(key) for key in keys} for row in thinned],
        "training_seconds": next((row["seconds"] for row in rows if row["kind"] == "finished"), None),
        "recipe": run.recipe.tables(),
        "environment": environment,
        "note": note,
    }


def file_name(run: Run, tag: str = "") -> str:
    """The name of a run's results file: by its place in a suite, else by its recipe."""
    member, recipe = membership(run.path), run.recipe
    row = member.label if member else method_label(recipe.tables()["method"])
    parts = [slug(member.setting if member else recipe.setting), slug(row), f"seed{recipe.training.seed}", tag]
    return "-".join(part for part in parts if part) + ".json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--split", default="test")
    parser.add_argument("--tag", default="", help="end of the files' names, say cpu-short")
    parser.add_argument("--note", default="", help="what a reader must know of these runs")
    arguments = parser.parse_args()
    for run in map(Run.open, arguments.runs):
        content = record(run, arguments.split, arguments.note)
        print(write_text(RESULTS / file_name(run, arguments.tag), json.dumps(content, indent=1) + "\n"))  # noqa: T201


if __name__ == "__main__":
    main()
