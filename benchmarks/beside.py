"""What puts crossview's default beside another program: the command, our run, scores and table.

The other program runs by the Python of an environment of its own (``versus_nnunet``,
``versus_pymic``), and crossview's metrics score the files that it predicts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import UserError, fail
from crossview.core.run_folder import RunFolder
from crossview.evaluation import bootstrap
from crossview.evaluation.metrics import Measures, measure
from crossview.evaluation.scores import read_cases
from crossview.methods.blocks.components import largest_components

ENDING = ".nii.gz"
SHOWN = ("dice", "hd95")

Labels = NDArray[np.uint8]
Cleaning = Callable[[Labels], Labels]
Trains = Callable[[float, Path], dict[str, Any]]
"""Trains for these seconds in this folder and predicts the test scans to its "predictions"."""
Prepares = Callable[[argparse.Namespace, RunFolder, Mapping[str, Any]], tuple[Path, Trains]]
"""Of the command line, our run and the split: the other side's folder, and what trains there."""


def command(about: str, program: str, package: str, prepare: Prepares) -> None:
    """Run the comparison that the command line asks for, print its table and write its record.

    Args:
        about: Text of ``--help``.
        program: The other program's name in the table; in small letters the option of its Python.
        package: Name by which that Python imports the program.
        prepare: Lays the data out for the other program.
    """
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = "--" + program.lower().replace("-", "")
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of all runs")
    parser.add_argument(option, type=Path, required=True, metavar="PYTHON", dest="python")
    parser.add_argument("--times", type=float, nargs="+", default=[1.0, 4.0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--labelled", type=int, help="default: all of split.toml")
    parser.add_argument("--record", type=Path, help="JSON file of the result")
    given = parser.parse_args()
    try:
        require(given.python, package, program)
        record = compare(given, program, prepare)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(table(record))
    if given.record:
        given.record.write_text(json.dumps(record, indent=1) + "\n")


def require(python: Path, package: str, program: str) -> None:
    """Raise unless ``python`` is a Python that finds the package."""
    asked = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    try:
        absent = subprocess.run([python, "-c", asked], stderr=subprocess.DEVNULL).returncode
    except OSError:
        absent = 1
    if absent:
        fix = f"install {program} in an environment of its own and name that one's Python"
        fail(
            f"{program} is not there", python, expected=f"a Python that imports {package}", fix=fix
        )


def compare(given: argparse.Namespace, program: str, prepare: Prepares) -> dict[str, Any]:
    """Train, predict and score all sides that are not there yet, and return the record."""
    split = tomllib.loads((given.data / "split.toml").read_text())
    split["labelled"] = split["labelled"][: given.labelled]
    ours = our_run(given.data, given.out / "crossview", len(split["labelled"]), given.seed)
    seconds = ours.journal.seconds
    assert seconds is not None, "a finished run has its time"
    folder, train = prepare(given, ours, split)
    rows = {"crossview": {"seconds": seconds} | scores_of(ours)}
    for factor in given.times:
        here = folder / f"{factor:g}"
        if not (here / "facts.json").exists():
            facts = train(seconds * factor, here)
            (here / "facts.json").write_text(json.dumps(facts))
        facts = json.loads((here / "facts.json").read_text())
        for name, cleaning in (("", _as_it_is), (", largest components", largest)):
            measures = score(given.data, here / "predictions", split["test"], cleaning)
            rows[f"{program}, {factor:g} times the time{name}"] = facts | measures
    environment = {key: value for key, value in ours.environment.items() if key != "command"}
    return {  # no folder of this machine
        "data": given.data.name,
        "labelled": split["labelled"],
        "test": split["test"],
        "environment": environment | {"data": given.data.name},
        "recipe": ours.tables,
        "rows": {name: row | against(rows["crossview"], row) for name, row in rows.items()},
    }


def our_run(data: Path, path: Path, labelled: int, seed: int) -> RunFolder:
    """Return the run of recipe "folder" in ``path``, trained and evaluated unless it is there."""
    crossview = [sys.executable, "-m", "crossview"]
    if not RunFolder(path).finished:
        again = ["--resume"] if path.exists() else []
        asked = ("--set", f"data.labelled={labelled}", "--set", f"training.seed={seed}")
        called = [*crossview, "train", "folder", "--data", data, "--out", path, *asked, *again]
        subprocess.run(called, check=True)
    if not (path / "evaluation" / "test").exists():
        subprocess.run([*crossview, "evaluate", path], check=True)
    return RunFolder.require(path)


def other_side(
    program: str,
    python: Path,
    script: Path,
    *arguments: object,
    env: Mapping[str, str] = os.environ,
) -> dict[str, Any]:
    """Run a script by the other program's Python and return the JSON of its last line."""
    done = subprocess.run(
        [python, script, *map(str, arguments)], env=env, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        fail(f"{program} ended", python, found=f"exit code {done.returncode}; see above")
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return facts


def _as_it_is(label: Labels) -> Labels:
    return label


def largest(label: Labels) -> Labels:
    """Keep the largest component of each class, as crossview's default does."""
    return largest_components(label[None], int(label.max()) + 1)[0]


def score(data: Path, folder: Path, test: Sequence[str], cleaning: Cleaning) -> dict[str, Any]:
    """Return the measures of the other program's predictions, by case and class."""
    found = {}
    for name in test:
        truth = nibabel.load(data / "labels" / f"{name}{ENDING}")
        predicted = nibabel.load(folder / f"{name}{ENDING}")
        here, there = (np.asarray(each.dataobj).astype(np.uint8) for each in (predicted, truth))
        spacing = tuple(map(float, truth.header.get_zooms()))
        here = cleaning(here)
        classes = range(1, int(there.max()) + 1)
        found[name] = [measure(here == each, there == each, spacing) for each in classes]
    return _summary(found)


def scores_of(run: RunFolder) -> dict[str, Any]:
    """Return the measures of the run's answer on the test scans, by case and class."""
    found: dict[str, list[Measures]] = {}
    for each in read_cases(run.evaluation("test")):
        if not each.view:
            found.setdefault(each.case, []).append(each.measures)
    return _summary(found)


def _summary(found: Mapping[str, Sequence[Measures]]) -> dict[str, Any]:
    """Return the values of each measure by case, with mean and 95% interval over patients."""
    cases = sorted(found)
    summary: dict[str, Any] = {}
    for name in SHOWN:
        values = np.array([[asdict(each)[name] for each in found[case]] for case in cases])
        summary[name] = {
            "mean": bootstrap.mean_of_means(values),
            "ci95": bootstrap.interval(values, cases),
            "cases": dict(zip(cases, values.tolist(), strict=True)),
        }
    return summary


def against(ours: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return crossview minus the row in Dice, paired by case; {} for crossview itself."""
    if ours is row:
        return {}
    cases = sorted(ours["dice"]["cases"])
    one, other = (np.array([each["dice"]["cases"][case] for case in cases]) for each in (ours, row))
    found = bootstrap.paired([one], [other], cases)
    return {"crossview_minus_this": asdict(found) if found else None}


def table(record: Mapping[str, Any]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| | training s | steps | Dice [95%] | HD95 mm | crossview - this |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in record["rows"].items():
        dice, difference = row["dice"], row.get("crossview_minus_this")
        interval = _interval(*dice["ci95"], "") if dice["ci95"] else ""
        ahead = (
            f"{100 * difference['mean']:+.2f}"
            + _interval(difference["low"], difference["high"], "+")
            if difference
            else ""
        )
        lines.append(
            f"| {name} | {row['seconds']:.0f} | {row.get('iterations', '')} | "
            f"{100 * dice['mean']:.2f}{interval} | {row['hd95']['mean']:.2f} | {ahead} |"
        )
    return "\n".join(lines)


def _interval(low: float, high: float, sign: str) -> str:
    return f" [{100 * low:{sign}.2f}, {100 * high:{sign}.2f}]"
