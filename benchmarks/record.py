"""Records of runs in files: ``python -m benchmarks.record RUN...`` writes one file per run.

It is benchmarks/results/<setting>-<row>-seed<k>[-fold<i>][-tag].json. A record holds the summary,
the scores of every case, the curves of validation and loss, the resolved recipe, the place in a
suite, the environment, versions, commit, command and seed. ``crossview compare`` reads it in place
of the run's folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from crossview.core.errors import UserError
from crossview.core.run_folder import RunFolder
from crossview.evaluation.finished import method_label
from crossview.evaluation.record import make_record, write_record
from crossview.runs.bench.runs import record_name

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the files")
    parser.add_argument("--split", default="test")
    parser.add_argument("--tag", default="", help="end of the files' names, say cpu-short")
    parser.add_argument("--note", default="", help="what a reader must know of these runs")
    given = parser.parse_args()
    try:
        for run in map(RunFolder.require, given.runs):
            file = given.out / file_name(run, given.tag)
            print(write_record(file, make_record(run, given.split, given.note)))
    except UserError as error:
        sys.exit(f"error: {error}")


def file_name(run: RunFolder, tag: str = "") -> str:
    """Return the name of a run's record, by its place in a suite, else by its recipe."""
    recipe, place = run.tables, run.place
    row = place.get("label") or method_label(recipe)
    setting = place.get("setting") or recipe.get("setting", "")
    fold = recipe["data"].get("fold")
    tags = "-".join(filter(None, (f"fold{fold[0]}" if fold else "", tag)))
    return record_name(str(setting), str(row), int(recipe["training"]["seed"]), tags)


if __name__ == "__main__":
    main()
