"""Results as files: ``python -m benchmarks.record RUN...`` writes to benchmarks/results.

A file <setting>-<row>-seed<k>[-tag].json holds the summary, the scores of every case, validation
and loss curves, the resolved recipe, its place in a suite, environment, versions, commit, command
and seed. ``crossview compare`` reads it in place of the run's folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from crossview.core.errors import UserError
from crossview.runs.bench.record import file_name, record, write_record
from crossview.runs.run import Run

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
        for run in map(Run.open, given.runs):
            print(
                write_record(
                    given.out / file_name(run, given.tag), record(run, given.split, given.note)
                )
            )
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
