"""Does training in bf16 reach float32's loss curve? ``python -m benchmarks.precision RECORD... [--json FILE]``.

RECORD: records (``python -m benchmarks.record RUN --tag float32``) of runs that differ in precision and seed alone, the same seeds in
both. A seed fixes batches, masks and first weights, so runs of one seed differ by rounding and what grows out of it; how far two seeds lie
apart is the measure of that. Over ten equal parts of the training: the mean loss of each precision, its standard deviation over seeds,
whether the mean of bf16 lies among the seeds of float32; the mean test Dice likewise.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from benchmarks.timing import finish, report, run

from crossview.errors import Problem, UserError
from crossview.evaluation.comparable import differing
from crossview.evaluation.finished import identity

PARTS = 10
Runs = dict[int, Mapping[str, Any]]
"""Records of one precision by seed."""


def read(files: Sequence[Path]) -> tuple[Runs, Runs]:
    """The records in float32 and in bf16. Raises UserError where they are not such pairs."""
    found: dict[str, dict[int, Mapping[str, Any]]] = {"float32": {}, "bf16": {}}
    recipes = []
    for file in files:
        content = json.loads(file.read_text(encoding="utf-8"))
        training = content["recipe"]["training"]
        found[training["precision"]][int(training["seed"])] = content
        recipes.append(
            {
                key: value
                for key, value in identity(content["recipe"]).items()
                if key != "training.precision"
            }
        )
    keys = differing(recipes)
    problems = (
        [Problem("the runs differ in more than precision and seed", found=", ".join(keys))]
        if keys
        else []
    )
    seeds = {precision: sorted(runs) for precision, runs in found.items()}
    if seeds["float32"] != seeds["bf16"] or len(seeds["bf16"]) < 2:
        problems.append(
            Problem("the seeds are not two or more, the same in both precisions", found=str(seeds))
        )
    if problems:
        raise UserError(problems)
    return found["float32"], found["bf16"]


def curve(record: Mapping[str, Any]) -> list[float]:
    """The mean loss in each of PARTS equal parts of a run."""
    total = int(record["total_steps"])
    parts: list[list[float]] = [[] for _ in range(PARTS)]
    for row in record["steps"]:
        parts[min(PARTS - 1, (int(row["total_step"]) - 1) * PARTS // total)].append(
            float(row["loss"])
        )
    if not all(parts):
        raise UserError(
            Problem(
                "the run is logged too seldom",
                found=f"{len(record['steps'])} rows",
                fix="a smaller training.log_every",
            )
        )
    return [fmean(part) for part in parts]


def compared(full: Sequence[float], short: Sequence[float]) -> dict[str, Any]:
    """Values of the same seeds in float32 and in bf16."""
    pairs = [b - a for a, b in zip(full, short, strict=True)]
    return {
        "float32": fmean(full),
        "float32_sd": stdev(full),
        "bf16": fmean(short),
        "bf16_sd": stdev(short),
        "difference": fmean(pairs),
        "difference_sd": stdev(pairs),
        "among_the_seeds": min(full) <= fmean(short) <= max(full),
    }


def compare(full: Runs, short: Runs) -> dict[str, Any]:
    """The curves and the test Dice of runs of the same seeds."""
    seeds = sorted(full)
    curves = [[curve(runs[seed]) for seed in seeds] for runs in (full, short)]
    parts = [
        compared(*([of_seed[part] for of_seed in of_all] for of_all in curves))
        for part in range(PARTS)
    ]
    dice = compared(
        *(
            [runs[seed]["summary"]["mean"]["dice"]["mean"] for seed in seeds]
            for runs in (full, short)
        )
    )
    return {
        "seeds": seeds,
        "parts": parts,
        "parts_among_the_seeds": sum(part["among_the_seeds"] for part in parts),
        "test_dice": dice,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path, nargs="+", metavar="RECORD")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    given = parser.parse_args()
    full, short = read(given.records)
    found = compare(full, short)
    names = [f"{(part * 100) // PARTS} to {((part + 1) * 100) // PARTS} %" for part in range(PARTS)]
    rows: list[Sequence[Any]] = [
        ("loss in steps", "float32", "sd", "bf16", "sd", "bf16 - float32", "sd", "among the seeds")
    ]
    for name, row in zip([*names, "test Dice"], [*found["parts"], found["test_dice"]], strict=True):
        rows.append(
            (
                name,
                *(
                    value if isinstance(value, float) else "yes" if value else "no"
                    for value in row.values()
                ),
            )
        )
    any_record = next(iter(short.values()))
    settings = {
        "setting": any_record["recipe"].get("setting", ""),
        "method": any_record["recipe"]["method"]["name"],
    }
    finish(report("precision", settings, found, torch.device("cpu")), rows, given.json)


if __name__ == "__main__":
    run(main)
