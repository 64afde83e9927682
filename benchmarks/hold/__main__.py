"""Campaigns that try to break crossview: ``python -m benchmarks.hold CAMPAIGN``.

Each is seeded and bounded, prints a table and, with --json, writes a results file. The exit code is
1 if anything did not hold.

  mutate    changed files of every format are read or refused
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from benchmarks.hold import mutate
from benchmarks.timing import finish, report, run, say


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, help="folder for the files; default: a temporary one"
    )
    campaigns = parser.add_subparsers(dest="campaign", required=True)
    one = campaigns.add_parser("mutate")
    one.add_argument("--files", type=int, default=100_000)
    one.add_argument("--only", default="", help="kinds whose name contains this text")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="hold-") as name:
        results = mutate.mutate(Path(name), given.files, given.seed, given.only)
    content = report(
        "hold", {"seed": given.seed, "files": given.files}, results, torch.device("cpu")
    )
    finish(content, mutate.rows(results), given.json)
    for fault in mutate.failed(results):
        say(f"fault: {fault}")
    sys.exit(bool(mutate.failed(results)))


if __name__ == "__main__":
    run(main)
