"""Same clicks, eight scans or two: ``python -m benchmarks.partial MSD_FOLDER OUT``.

MSD_FOLDER is MSD's Task04 (see ``benchmarks.hippocampus``, whose cases and split this uses). OUT
gets two folders and the runs on them:

- ``whole``: 2 scans labelled in every slice;
- ``slices``: 8 scans labelled in every fourth slice of the file's third axis, from slice 1 on,
  stated by [slices] in split.toml.

The other scans are unlabelled, in "slices" the open slices too. Both train with the recipe of suite
``hippocampus`` and the same batch, steps and seeds, and are scored on its 21 test scans, which are
labelled whole. A finished run is not repeated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

import crossview
from benchmarks import hippocampus
from crossview.core.environment import environment_now
from crossview.core.files import write_text
from crossview.evaluation.bootstrap import paired
from crossview.evaluation.finished import read_run
from crossview.runs.bench.suite import load_suite

SCANS = {"whole": 2, "slices": 8}
EVERY = 4


def make(source: Path, out: Path) -> dict[str, Path]:
    """Make both folders, unless they are there, and return them by name."""
    folders = {name: out / name for name in SCANS}
    for name, folder in folders.items():
        if folder.exists():
            continue
        lists = hippocampus.make(source, folder, labelled=max(SCANS.values()))
        text = (folder / "split.toml").read_text(encoding="utf-8")
        labelled = lists["labelled"]
        if name == "slices":
            rows = (f"{case} = {_every_fourth(folder, case)}" for case in labelled)
            text += "\n[slices]\n" + "\n".join(rows) + "\n"
        write_text(folder / "split.toml", text)
    return folders


def _every_fourth(folder: Path, case: str) -> list[int]:
    image = nib.load(folder / "labels" / f"{case}{hippocampus.SUFFIX}")
    return list(range(1, image.shape[2], EVERY))


def clicks(folders: Mapping[str, Path]) -> dict[str, int]:
    """Return the number of labelled slices of each folder, as the check counts them."""
    used = {
        name: crossview.check(folder).facts["labelled"][: SCANS[name]]
        for name, folder in folders.items()
    }
    return {
        name: sum(fact.shape[3] - fact.ignored // prod(fact.shape[1:3]) for fact in facts)
        for name, facts in used.items()
    }


def overrides(name: str, method: str, seed: int, steps: int) -> list[str]:
    """Return the keys of one run. Both arms have the batch that two scans allow."""
    common = [key for key in load_suite("hippocampus").common if "_batch=" not in key]
    lengths = {
        "supervised": [f"method.steps={steps}"],
        "cml": [
            f"method.pretrain_steps={steps // 4}",
            f"method.train_steps={steps - steps // 4}",
        ],
    }
    return [
        *common,
        "training.labelled_batch=2",
        f"training.unlabelled_batch={2 if method == 'cml' else 0}",
        "training.evaluate_every=1000000",
        f"training.seed={seed}",
        f"data.labelled={SCANS[name]}",
        f"method.name={method}",
        *lengths[method],
    ]


def run_path(out: Path, name: str, method: str, seed: int, steps: int) -> Path:
    return out / "runs" / f"{name}-{method}-{steps}-seed{seed}"


def scores(path: Path, folder: Path, name: str, method: str, seed: int, steps: int) -> Any:
    """Train and evaluate the run at ``path``, unless it is done, and return its summary."""
    summary = path / "evaluation" / "test" / "summary.json"
    if not summary.is_file():
        keys, begun = (
            overrides(name, method, seed, steps),
            (path / "recipe.toml").is_file(),
        )
        run, _ = crossview.train("folder", folder, path, overrides=keys, resume=begun)
        return crossview.evaluate(run)
    return json.loads(summary.read_text(encoding="utf-8"))


def difference(out: Path, method: str, seeds: Sequence[int], steps: int) -> dict[str, Any]:
    """Return the Dice of "slices" minus that of "whole", paired over patients and seeds."""
    whole, slices = (
        [read_run(run_path(out, name, method, seed, steps), "test") for seed in seeds]
        for name in ("whole", "slices")
    )
    dice = [[run.values["dice"] for run in runs] for runs in (slices, whole)]
    found = paired(*dice, whole[0].patients)
    return {"method": method, "slices_minus_whole": asdict(found) if found else None}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a line per method and arm: Dice of each seed, and their mean and deviation."""
    lines = ["method      labelled in  Dice % by seed               mean (sd)"]
    for row in rows:
        dice = 100 * np.array(list(row["dice"].values()))
        deviation = dice.std(ddof=1) if len(dice) > 1 else float("nan")
        each = ", ".join(f"{value:.2f}" for value in dice)
        lines.append(
            f"{row['method']:<12}{row['arm']:<13}{each:<29}{dice.mean():.2f} ({deviation:.2f})"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="MSD_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=("supervised", "cml"),
        default=["supervised", "cml"],
    )
    parser.add_argument("--json", type=Path, help="keep the scores here")
    given = parser.parse_args()
    folders = make(given.source, given.out)
    record: dict[str, Any] = {
        "machine": environment_now(torch.device("cpu")),
        "rows": [],
        "differences": [],
    }
    labelled = clicks(folders)
    for method in given.methods:
        rows = {
            name: {
                "method": method,
                "arm": name,
                "dice": {},
                "slices": labelled[name],
                "steps": given.steps,
            }
            for name in folders
        }
        record["rows"] += rows.values()
        for seed in given.seeds:
            for name, folder in folders.items():
                path = run_path(given.out, name, method, seed, given.steps)
                summary = scores(path, folder, name, method, seed, given.steps)
                rows[name]["dice"][str(seed)] = summary["mean"]["dice"]["mean"]
        record["differences"].append(difference(given.out, method, given.seeds, given.steps))
        print(table(record["rows"]), json.dumps(record["differences"][-1]), sep="\n", flush=True)
        if given.json:
            write_text(given.json, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
