"""Campaigns that try to break crossview: ``python -m benchmarks.hold CAMPAIGN``.

Each is seeded and bounded, prints a table and, with --json, writes a results file. The exit code is
1 if anything did not hold.

  mutate    changed files of every format are read or refused
  kill      commands that are killed at random moments leave whole files and end as if they were not
  faults    a full disk, a read-only folder or no memory is told, and the command can be repeated
  preempt   a run in short slots ends as one that was never stopped
  load      training next to two busy processes, in turn with training alone
  many      16 processes share one suite's folder, by locks and by leases
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from benchmarks.hold import faults, kill, load, many, mutate, preempt
from benchmarks.hold.whole import NOT_COMPARED
from benchmarks.timing import finish, report, run, say

CAMPAIGNS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (mutate, kill, faults, preempt, load, many)
}
"""Each has rows(results), its table, and failed(results), what did not hold."""


COMPARING = ("kill", "faults", "preempt", "many")
"""Campaigns that compare files with those of an undisturbed command."""


def _given() -> argparse.Namespace:
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
    one = campaigns.add_parser("kill")
    one.add_argument("--kills", type=int, default=200)
    one.add_argument("--only", default="", help="commands whose name contains this text")
    one = campaigns.add_parser("faults")
    one.add_argument("--only", default="", help="commands and faults whose name contains this text")
    one = campaigns.add_parser("preempt")
    one.add_argument("--steps", type=int, default=2_000)
    one.add_argument("--slots", type=float, nargs=2, default=(20, 60), help="their seconds")
    one = campaigns.add_parser("load")
    one.add_argument("--steps", type=int, default=200)
    one.add_argument("--repeats", type=int, default=3)
    one = campaigns.add_parser("many")
    one.add_argument("--processes", type=int, default=16)
    return parser.parse_args()


def _results(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    match given.campaign:
        case "mutate":
            return mutate.mutate(folder, given.files, given.seed, given.only)
        case "kill":
            return kill.kill(folder, given.kills, given.seed, given.only)
        case "faults":
            return faults.faults(folder, given.only)
        case "preempt":
            return preempt.preempt(folder, given.steps, tuple(given.slots), given.seed)
        case "load":
            return load.load(folder, given.steps, given.repeats)
    return many.many(folder, given.processes)


def main() -> None:
    given = _given()
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="hold-") as name:
        results = _results(given, Path(name))
    unsaid = ("json", "folder", "campaign")
    settings = {key: value for key, value in vars(given).items() if key not in unsaid}
    if given.campaign in COMPARING:
        settings["keys_not_compared"] = NOT_COMPARED
    content = report("hold", settings, results, torch.device("cpu"))
    campaign = CAMPAIGNS[given.campaign]
    finish(content, campaign.rows(results), given.json)
    faults = campaign.failed(results)
    for fault in faults:
        say(f"fault: {fault}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    run(main)
