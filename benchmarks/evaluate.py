"""Time of test-time inference: ``python -m benchmarks.evaluate RECIPE [--data DIR]``, new networks.

Seconds per volume, and windows or slices per second, of the recipe's predictor from images to
cleaned labels. It predicts whole test volumes of the setting, or with --windows N a part of one
with about N windows, from which the whole test set is extrapolated.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.loops import Loop, loop_of, prepared_of
from benchmarks.timing import (
    add_common,
    finish,
    forget_peak_memory,
    peak_memory,
    report,
    run,
    seconds,
    spread,
)
from numpy.typing import NDArray

from crossview.inference.items import ArrayItem
from crossview.inference.windows import window_starts
from crossview.recipe.resolve import Recipe
from crossview.runs.run import make_predictor, recordable

Image = NDArray[np.float32]


def parts_of(shape: tuple[int, ...], recipe: Recipe) -> int:
    """Return the number of windows or slices that an image (*S) is predicted in."""
    if recipe.inference.mode == "slices":
        return shape[0] if len(shape) == 3 else 1
    patch = recipe.data.patch
    starts = [
        window_starts(max(side, p), p, s)
        for side, p, s in zip(shape[-len(patch) :], patch, recipe.inference.stride, strict=True)
    ]
    depth = shape[0] if len(shape) > len(patch) else 1
    return depth * int(np.prod([len(each) for each in starts]))


def cut(image: Image, recipe: Recipe, windows: int) -> Image:
    """Return a corner of an image (C, *S) with about that many windows, or all of it."""
    patch, stride = recipe.data.patch, recipe.inference.stride
    if recipe.inference.mode == "slices" or len(patch) == 2:
        return image[:, :windows] if image.ndim == 4 else image
    sides = list(patch)
    for axis in (2, 1, 0):
        while (
            sides[axis] + stride[axis] <= image.shape[axis + 1]
            and parts_of(tuple(sides), recipe) < windows
        ):
            sides[axis] += stride[axis]
    return image[:, : sides[0], : sides[1], : sides[2]]


def measure(loop: Loop, windows: int, volumes: int, repeats: int) -> dict[str, Any]:
    """Return seconds and windows of test images, ``repeats`` times, and of the whole test set."""
    recipe, cases = loop.recipe, loop.prepared.splits.test
    whole = [case.read_image() for case in cases[:volumes]]
    images = [cut(image, recipe, windows) for image in whole] if windows else whole
    predictor = make_predictor(
        recipe, loop.training.job.method, loop.device, loop.precision, many=True
    )
    list(
        predictor.predict([ArrayItem.on_own_grid(cut(images[0], recipe, 2))])
    )  # kernels are chosen
    count = sum(parts_of(image.shape[1:], recipe) for image in images)
    forget_peak_memory(loop.device)
    times = [
        seconds(lambda: list(predictor.predict(map(ArrayItem.on_own_grid, images))), loop.device)
        for _ in range(repeats)
    ]
    a_part = spread(times)["median"] / count
    all_parts = sum(parts_of(case.read_image().shape[1:], recipe) for case in cases)
    return {
        "seconds": spread(times),
        "windows_or_slices": count,
        "a_second": round(1 / a_part, 3),
        "seconds_a_volume": round(a_part * all_parts / len(cases), 3),
        "test_set": {
            "volumes": len(cases),
            "windows_or_slices": all_parts,
            "seconds_extrapolated": round(a_part * all_parts, 1),
        },
        "peak_memory": peak_memory(loop.device),
        "recordings": predictor.passes.__self__.made if recordable(recipe, loop.device) else 0,  # type: ignore[attr-defined]
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", metavar="RECIPE")
    parser.add_argument(
        "--data", type=Path, help="the real data; left out: made volumes of true shapes"
    )
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bf16"))
    parser.add_argument("--volumes", type=int, default=1, help="test volumes that are predicted")
    parser.add_argument(
        "--windows",
        type=int,
        default=0,
        metavar="N",
        help="only so many windows or slices of each; 0: all",
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    add_common(parser)
    arguments = parser.parse_args()
    prepared = prepared_of(
        arguments.recipe,
        arguments.data,
        [*arguments.overrides, f"training.device={arguments.device}"],
    )
    with loop_of(
        prepared, precision="" if arguments.precision == "auto" else arguments.precision
    ) as loop:
        results = measure(loop, arguments.windows, arguments.volumes, arguments.repeats)
        recipe, test = loop.recipe, results["test_set"]
        settings = {
            "recipe": recipe.setting,
            "method": recipe.method.name,
            "precision": loop.precision,
            "compile": recipe.training.compile,
            "mode": recipe.inference.mode,
            "patch": list(recipe.data.patch),
            "stride": list(recipe.inference.stride),
            "batch": recipe.inference.batch,
            "flips": recipe.inference.flips,
            "data": "real" if arguments.data else "made volumes of true shapes",
            "set": arguments.overrides,
        }
        rows = [
            (f"{recipe.setting} {recipe.method.name}, {loop.precision}", "", ""),
            (
                "seconds",
                results["seconds"]["median"],
                f"{results['seconds']['min']} to {results['seconds']['max']}",
            ),
            ("windows or slices", results["windows_or_slices"], f"{results['a_second']} a second"),
            ("seconds a test volume", results["seconds_a_volume"], "from the windows' rate"),
            (
                "seconds for the test set",
                test["seconds_extrapolated"],
                f"{test['volumes']} volumes, {test['windows_or_slices']} windows",
            ),
            ("peak memory (GiB)", results["peak_memory"]["gib"], results["peak_memory"]["kind"]),
            ("passes recorded as CUDA graphs", results["recordings"], ""),
        ]
        finish(report("evaluate", settings, results, loop.device), rows, arguments.json)


if __name__ == "__main__":
    run(main)
