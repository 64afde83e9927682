"""Time to make a batch, and to wait for it: ``python -m benchmarks.data RECIPE... [--data DIR]``.

Milliseconds per batch of ``Stream.batch`` (crops, augmentation, look-up tables) in the prefetcher's
thread, alone on the machine. With --steps N also the share of N training steps spent waiting for a
batch. --data holds the recipe's data, or LA/ and ACDC/.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.loops import loop_of, prepared_of
from benchmarks.timing import add_common, finish, report, run, seconds, spread

from crossview.core.errors import UserError
from crossview.recipe.resolve import resolve
from crossview.runs.prepare import Prepared
from crossview.training.device import find_device

FOLDERS = {"la": "LA", "acdc": "ACDC"}


def batches(prepared: Prepared, count: int) -> dict[str, Any]:
    """Return milliseconds per batch, of labelled and unlabelled images if the method has both."""
    stages = prepared.recipe.stages
    unlabelled = prepared.stream.unlabelled is not None and stages[-1].unlabelled
    times = [
        seconds(
            lambda step=step: prepared.stream.batch(0, step, unlabelled=unlabelled), prepared.device
        )  # type: ignore[misc]
        for step in range(count + 3)
    ]
    batch = prepared.stream.batch(0, 0, unlabelled=unlabelled)
    stored = prepared.stream.labelled.nbytes + (
        prepared.stream.unlabelled.nbytes if prepared.stream.unlabelled is not None else 0
    )
    return {
        "ms_a_batch": spread([1000 * value for value in times[3:]], 3),
        "labelled": list(batch.image.shape),
        "unlabelled": [] if batch.unlabelled is None else list(batch.unlabelled.shape),
        "store_mib": round(stored / 2**20, 1),
    }


def root_of(recipe: str, data: Path | None, overrides: list[str]) -> Path | None:
    """The recipe's own data: ``data``, or the folder of its source in there."""
    if data is None:
        return None
    try:
        inside = data / FOLDERS.get(resolve(recipe, overrides).data.source, "")
    except UserError:  # a recipe with open keys: source folder
        return data
    return inside if inside.is_dir() else data


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="+", metavar="RECIPE")
    parser.add_argument(
        "--data", type=Path, help="the real data; left out: made volumes of true shapes"
    )
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument(
        "--steps",
        type=int,
        default=0,
        metavar="N",
        help="also the wait for data in N training steps",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    add_common(parser)
    arguments = parser.parse_args()
    device = find_device(arguments.device)
    rows: list[tuple[Any, ...]] = [
        (
            "recipe",
            "ms a batch",
            "least to largest",
            "labelled",
            "unlabelled",
            "store (MiB)",
            "data wait",
        )
    ]
    results: dict[str, Any] = {}
    for recipe in arguments.recipes:
        overrides = [*arguments.overrides, f"training.device={device}"]
        prepared = prepared_of(recipe, root_of(recipe, arguments.data, overrides), overrides)
        found = results[recipe] = batches(prepared, arguments.batches)
        if arguments.steps:
            with loop_of(prepared) as loop:
                times, waits = loop.times(arguments.steps)
            found |= {
                "data_wait_share": round(sum(waits) / sum(times), 5),
                "seconds_a_step": spread(times),
                "precision": loop.precision,
            }
        ms = found["ms_a_batch"]
        shapes = [" x ".join(map(str, found[key])) for key in ("labelled", "unlabelled")]
        rows.append(
            (
                recipe,
                ms["median"],
                f"{ms['min']} to {ms['max']}",
                *shapes,
                found["store_mib"],
                found.get("data_wait_share", ""),
            )
        )
    settings = {
        "batches": arguments.batches,
        "data": "real" if arguments.data else "made volumes of true shapes",
        "set": arguments.overrides,
    }
    finish(report("data", settings, results, device), rows, arguments.json)


if __name__ == "__main__":
    run(main)
