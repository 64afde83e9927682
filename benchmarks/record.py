"""Keep a run's result as a file: ``python -m benchmarks.record RUN`` writes benchmarks/results/<setting>-<method>-seed<k>[-tag].json.

What is kept: the summary, the validation curve, the loss curve, the resolved recipe, environment, versions, commit, command, seed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from crossview.evaluation.finished import method_label
from crossview.files import write_text
from crossview.folder import Run
from crossview.training.journal import read_journal

RESULTS = Path(__file__).parent / "results"
STEPS_KEPT = 200


def record(run: Run, split: str = "test", note: str = "") -> dict[str, Any]:
    """The content of one results file. Raises UserError for a folder that is no run."""
    rows = list(read_journal(run.path / "journal.jsonl"))
    steps = [row for row in rows if row["kind"] == "step"]
    keys = ("stage", "total_step", "loss", "terms", "learning_rate", "samples_per_second", "data_wait", "seconds", "health")
    thinned = steps[:: max(1, len(steps) // STEPS_KEPT)]
    environment = {name: value for name, value in run.environment.items() if name != "data"}
    return {
        "summary": json.loads((run.path / "evaluation" / split / "summary.json").read_text(encoding="utf-8")),
        "validation": [{key: value for key, value in row.items() if key != "kind"} for row in rows if row["kind"] == "validation"],
        "steps": [{key: row.get(key) for key in keys} for row in thinned],
        "training_seconds": next((row["seconds"] for row in rows if row["kind"] == "finished"), None),
        "recipe": run.recipe.tables(),
        "environment": environment,
        "note": note,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--tag", default="", help="end of the file's name, say cpu-short")
    parser.add_argument("--note", default="", help="what a reader must know of this run")
    arguments = parser.parse_args()
    run = Run.open(arguments.run)
    content = record(run, arguments.split, arguments.note)
    recipe = run.recipe
    method = method_label(recipe.tables()["method"]).replace(", ", "-").replace(" ", "-")
    parts = [recipe.setting, method, f"seed{recipe.training.seed}", arguments.tag]
    path = RESULTS / ("-".join(part for part in parts if part) + ".json")
    print(write_text(path, json.dumps(content, indent=1) + "\n"))  # noqa: T201


if __name__ == "__main__":
    main()
