"""Rounds of labelling, simulated: ``python -m benchmarks.rounds MSD_FOLDER OUT``.

MSD_FOLDER is MSD's Task04, the hippocampus (see benchmarks/hippocampus.py). A run is trained on
four labels. Then, three times, ``suggest`` names four scans, their drafts are compared with their
true labels, the true labels are revealed (a perfect correction), and two runs are trained on all
labels so far: one that starts from the run before (warm), one that starts anew (cold). Both do the
same number of steps and have the same labels, those that the warm run asked for. At the end all
runs are scored on the 21 test scans. Finished runs are kept, so a stopped program can be started
again. OUT/rounds.json has the figures.

Not shown here: that suggested scans are better to label than random ones. It has been measured once
(docs/how-to/own-data/label-next.md), without a difference.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import tomli_w
from benchmarks.hippocampus import SUFFIX, make

import crossview
from crossview.core.errors import UserError
from crossview.core.files import write_text

LABELLED, ROUNDS, EACH = 4, 3, 4


class Simulation:
    """The data folder, the runs and the figures of one simulation, in the folder OUT."""

    def __init__(self, source: Path, out: Path, pool: int, sets: Sequence[str], steps: int) -> None:
        self.source, self.out, self.data = source, out, out / "data"
        self.sets, self.steps = (*sets, f"data.patch={[32, 48, 32]}"), steps
        if not self.data.exists():
            make(source, self.data, labelled=LABELLED)
            lists = self.lists()
            used = {name for names in lists.values() for name in names}
            names = sorted(file.name.removesuffix(SUFFIX) for file in self.data.glob("images/*"))
            free = [name for name in names if name not in used]
            order = np.random.Generator(np.random.Philox(0)).permutation(len(free))
            self.write({**lists, "unlabelled": [free[index] for index in sorted(order[:pool])]})

    def lists(self) -> dict[str, list[str]]:
        import tomllib

        return tomllib.loads((self.data / "split.toml").read_text(encoding="utf-8"))

    def write(self, lists: Mapping[str, list[str]]) -> None:
        write_text(self.data / "split.toml", tomli_w.dumps(dict(lists)))

    def reveal(self, names: Sequence[str]) -> None:
        """Put the true labels of scans into the folder, as if somebody had drawn them."""
        for name in names:
            shutil.copyfile(
                self.source / "labelsTr" / f"{name}{SUFFIX}",
                self.data / "labels" / f"{name}{SUFFIX}",
            )
        lists = self.lists()
        lists["labelled"] += [name for name in names if name not in lists["labelled"]]
        lists["unlabelled"] = [name for name in lists["unlabelled"] if name not in names]
        self.write(lists)

    def train(self, name: str, start: str | None = None) -> Path:
        """Train a run, or resume it."""
        run = self.out / name
        if not (run / "model.pt").exists():
            print(f"training {name}", flush=True)
            more: dict[str, Any] = {"resume": True} if (run / "recipe.toml").exists() else {}
            if not more and start:
                more["start"] = self.out / start
            crossview.train("folder", self.data, run, overrides=self.sets, steps=self.steps, **more)
        return run

    def drafts(self, run: Path, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return the Dice of a run's drafts, and the share of voxels to correct."""
        folder = run / "drafts"
        scans = [self.data / "images" / f"{name}{SUFFIX}" for name in names]
        crossview.predict(run, scans, folder, overwrite=True)
        return [compared(folder, self.source / "labelsTr", name) for name in names]

    def test(self, run: Path) -> float:
        """Return the mean Dice on the test scans."""
        file = run / "evaluation" / "test" / "summary.json"
        if not file.exists():
            crossview.evaluate(run, self.data)
        return float(json.loads(file.read_text())["mean"]["dice"]["mean"])

    def go(self) -> dict[str, Any]:
        """Run all rounds and return the figures."""
        state = self.out / "rounds.json"
        rounds = json.loads(state.read_text())["rounds"] if state.exists() else []
        warm = cold = self.train("cold-0")
        for number in range(1, ROUNDS + 1):
            if len(rounds) < number:
                found = crossview.suggest(warm, self.data, count=EACH, out=warm / "suggest")
                names = [each.case for each in found]
                drafts = {"warm": self.drafts(warm, names), "cold": self.drafts(cold, names)}
                rounds.append({"round": number, "scans": names, "drafts": drafts})
                self.save(rounds)
            self.reveal(rounds[number - 1]["scans"])
            before = warm.name
            warm, cold = self.train(f"warm-{number}", before), self.train(f"cold-{number}")
        scored = {run: self.test(self.out / run) for run in self.runs()}
        return self.save(rounds, test=scored)

    def runs(self) -> list[str]:
        return ["cold-0", *(f"{k}-{n}" for n in range(1, ROUNDS + 1) for k in ("cold", "warm"))]

    def save(self, rounds: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        about = {"steps": self.steps, "set": list(self.sets), "labelled_at_first": LABELLED}
        content = {**about, "rounds": list(rounds), **more}
        write_text(self.out / "rounds.json", json.dumps(content, indent=1) + "\n")
        return content


def compared(drafts: Path, labels: Path, name: str) -> dict[str, Any]:
    """Return a draft's mean Dice over the classes, voxels to change, and voxels of the label."""
    draft, label = (
        np.asanyarray(nib.load(folder / f"{name}{SUFFIX}").dataobj) for folder in (drafts, labels)
    )
    dice = [
        2
        * np.count_nonzero((draft == value) & (label == value))
        / (np.count_nonzero(draft == value) + np.count_nonzero(label == value))
        for value in (1, 2)
    ]
    return {
        "case": name,
        "dice": float(np.mean(dice)),
        "changed": int(np.count_nonzero(draft != label)),
        "voxels": int(np.count_nonzero(label)),
    }


def table(content: Mapping[str, Any]) -> str:
    """Return the figures as a table."""
    lines = ["| round | labels | draft | Dice | voxels to change | | test Dice |"]
    for each in content["rounds"]:
        number, labels = each["round"], LABELLED + EACH * (each["round"] - 1)
        for kind, drafts in each["drafts"].items():
            dice = 100 * np.mean([draft["dice"] for draft in drafts])
            changed, voxels = (sum(draft[key] for draft in drafts) for key in ("changed", "voxels"))
            run = "cold-0" if number == 1 else f"{kind}-{number - 1}"
            test = 100 * content.get("test", {}).get(run, float("nan"))
            share = f"{100 * changed / voxels:.0f} %"
            lines.append(
                f"| {number} | {labels} | {kind} | {dice:.1f} | {changed:,} of {voxels:,} "
                f"| {share} | {test:.1f} |"
            )
    for kind in ("warm", "cold"):
        test = 100 * content.get("test", {}).get(f"{kind}-{ROUNDS}", float("nan"))
        lines.append(f"| end | {LABELLED + EACH * ROUNDS} | {kind} | | | | {test:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="MSD_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--steps", type=int, default=1000, help="of each run")
    parser.add_argument("--pool", type=int, default=150, help="unlabelled scans to choose from")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    try:
        content = Simulation(given.source, given.out, given.pool, given.set, given.steps).go()
    except UserError as error:
        sys.exit(f"error: {error}")
    print(table(content))


if __name__ == "__main__":
    main()
