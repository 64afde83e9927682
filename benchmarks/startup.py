"""Time to begin: ``python -m benchmarks.startup``, a new process each time.

Measured: --help, the import, and a first training step, that of ``crossview train demo --max-steps
1``: process, imports, made-up volumes, precision by measurement, one step, checkpoint, report.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks.timing import add_common, finish, report, run, seconds, spread

from crossview.core.errors import Problem, UserError


def process(*arguments: str) -> None:
    """Run this Python with these arguments. Raises UserError with what it said where it failed."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            Problem("a process failed", " ".join(arguments), done.stderr.strip()[-2000:])
        )


def first_step(recipe: str, overrides: Sequence[str]) -> None:
    """``crossview train`` to the end of its first step."""
    with tempfile.TemporaryDirectory() as folder:
        sets = [text for override in overrides for text in ("--set", override)]
        process(
            "-m",
            "crossview",
            "train",
            recipe,
            "--out",
            str(Path(folder) / "run"),
            "--max-steps",
            "1",
            *sets,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--recipe", default="demo", help="a recipe that needs no data")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    add_common(parser)
    arguments = parser.parse_args()
    overrides = [f"training.device={arguments.device}", *arguments.overrides]
    works: dict[str, Callable[[], None]] = {
        "python, nothing else": lambda: process("-c", "pass"),
        "crossview --help": lambda: process("-m", "crossview", "--help"),
        "import crossview": lambda: process("-c", "import crossview"),
        "import torch": lambda: process("-c", "import torch"),
        f"crossview train {arguments.recipe} --max-steps 1": lambda: first_step(
            arguments.recipe, overrides
        ),
    }
    results = {}
    for name, work in works.items():
        work()  # files come into the system's cache
        results[name] = {"seconds": spread([seconds(work) for _ in range(arguments.repeats)], 3)}
    rows: list[tuple[Any, ...]] = [("process", "seconds", "least to largest")]
    rows += [
        (name, of["seconds"]["median"], f"{of['seconds']['min']} to {of['seconds']['max']}")
        for name, of in results.items()
    ]
    settings = {"repeats": arguments.repeats, "set": arguments.overrides}
    finish(report("startup", settings, results, torch.device("cpu")), rows, arguments.json)


if __name__ == "__main__":
    run(main)
