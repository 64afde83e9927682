"""Is it worth labelling what ``crossview suggest`` names? ``python -m benchmarks.relabel RUN DATA OUT [-n 5] [--draws 5]``.

RUN: a finished run on the folder DATA, in which some scans that RUN saw without their labels do have them. OUT gets a folder for each
answer to "which N to label next": those that the run suggests, and some draws by chance. Each is DATA's scans (links) with another
split.toml, and RUN's recipe trained on it anew with N more labelled scans. The same command goes on where it was stopped, and started twice
the two share the runs; it ends in the mean test Dice of each, the paired difference of the suggested scans and the mean of the draws, and
benchmarks/results/relabel-<setting>-<run>.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from benchmarks.timing import say

from crossview.data.sources import folder
from crossview.environment import environment_now
from crossview.errors import Problem, UserError
from crossview.evaluation.bootstrap import mean_of_means, paired
from crossview.evaluation.scores import COMBINED, read_cases
from crossview.files import write_text
from crossview.folder import Run
from crossview.lock import LockedError, locked
from crossview.rng import Randomness
from crossview.run import evaluate, train
from crossview.suggesting import suggest
from crossview.training.device import find_device

RESULTS = Path(__file__).parent / "results"


def variants(run: Run, data: Path, out: Path, count: int, draws: int) -> dict[str, list[str]]:
    """The scans to label by the name of the answer. Raises UserError where a suggested scan has no hidden label."""
    known = folder.find_cases(data, run.recipe.data.nifti_axes)
    labelled = set(run.environment["labelled"])
    able = sorted(case.id for case in (*known.labelled, *known.hidden) if case.id not in labelled)
    chosen = [each.case for each in suggest(run, data, count=count, out=out)]
    if unable := [name for name in chosen if name not in able]:
        raise UserError(
            Problem(
                "suggested scans have no label to uncover",
                str(data),
                ", ".join(unable),
                "labels in the folder, hidden",
            )
        )
    by_chance = [
        list(Randomness(index).host("relabel").choice(able, size=count, replace=False))
        for index in range(1, draws + 1)
    ]
    return {"suggested": chosen} | {
        f"draw{index}": list(map(str, names)) for index, names in enumerate(by_chance, 1)
    }


def make(data: Path, out: Path, labelled: Sequence[str]) -> Path:
    """DATA with these scans as the labelled ones, in links. Returns ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    for entry in data.iterdir():
        if entry.name != "split.toml" and not (out / entry.name).exists():
            (out / entry.name).symlink_to(entry.absolute())
    split = (
        tomllib.loads((data / "split.toml").read_text(encoding="utf-8"))
        if (data / "split.toml").is_file()
        else {}
    )
    write_text(out / "split.toml", tomli_w.dumps({**split, "labelled": list(labelled)}))
    return out


def dice(run: Path) -> tuple[list[str], np.ndarray[Any, np.dtype[np.float64]]]:
    """The test cases and their Dice, (cases, classes)."""
    scores = [score for score in read_cases(run / "evaluation" / "test") if score.view == COMBINED]
    cases = list(dict.fromkeys(score.case for score in scores))
    return cases, np.array(
        [[score.measures.dice for score in scores if score.case == case] for case in cases]
    )


def measure(run: Run, data: Path, out: Path, count: int, draws: int) -> dict[str, Any]:
    """Train and score every variant that is not done, and what came of all."""
    plan = out / "variants.json"
    if not plan.is_file():
        write_text(
            plan, json.dumps(variants(run, data, out / "suggest", count, draws), indent=1) + "\n"
        )
    chosen: dict[str, list[str]] = json.loads(plan.read_text(encoding="utf-8"))
    before = list(run.environment["labelled"])
    elsewhere = []
    for name, names in chosen.items():
        scans, path = make(data, out / "scans" / name, [*before, *names]), out / name
        try:
            with locked(scans):
                if not (path / "evaluation" / "test" / "summary.json").is_file():
                    say(f"{name}: {', '.join(names)}")
                    trained, _ = train(
                        run.path,
                        scans,
                        path,
                        overrides=[f"data.labelled={len(before) + len(names)}"],
                        resume=path.exists(),
                    )
                    evaluate(trained)
        except LockedError:
            elsewhere.append(name)
    if elsewhere:
        raise UserError(
            Problem(
                "left to another process",
                str(out),
                ", ".join(elsewhere),
                fix="the same command when it has ended",
            )
        )
    cases, suggested = dice(out / "suggested")
    drawn = [dice(out / name)[1] for name in chosen if name != "suggested"]
    difference = paired([suggested], [np.mean(drawn, axis=0)], cases)
    means = {name: mean_of_means(dice(out / name)[1]) for name in chosen}
    return {
        "run": run.path.name,
        "labelled_before": len(before),
        "labelled_after": len(before) + count,
        "dice_before": mean_of_means(dice(run.path)[1])
        if (run.path / "evaluation" / "test").is_dir()
        else None,
        "dice": means,
        "suggested_minus_mean_of_draws": vars(difference) if difference is not None else None,
        "variants": chosen,
        "machine": environment_now(find_device("auto")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("-n", type=int, default=5, dest="count", help="scans to label")
    parser.add_argument("--draws", type=int, default=5, help="answers by chance")
    given = parser.parse_args()
    try:
        run = Run.open(given.run)
        found = measure(run, given.data, given.out, given.count, given.draws)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(
        json.dumps(
            {key: found[key] for key in ("dice_before", "dice", "suggested_minus_mean_of_draws")},
            indent=1,
        )
    )  # noqa: T201
    print(
        write_text(
            RESULTS / f"relabel-{run.recipe.setting}-{run.path.name}.json",
            json.dumps(found, indent=1) + "\n",
        )
    )  # noqa: T201


if __name__ == "__main__":
    main()
