"""Seams of sliding windows: ``python -m benchmarks.seams MODEL --data DATA [--cases N]``.

MODEL is a run or a model.pt. Each window of a test scan is predicted once; its probabilities are
then averaged with uniform and with Gaussian weights. Reported per weighting: Dice and HD95 of the
cleaned label, and the seam: the change of a probability at a voxel where windows begin or end if
these windows are left out of its mean (largest, and 95th percentile near the structure's surface).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.timing import finish, report, run
from torch import Tensor

from crossview.core.run_folder import RunFolder
from crossview.data.case import Case
from crossview.evaluation.metrics import measure
from crossview.inference.predict import evaluating
from crossview.inference.weights import gaussian
from crossview.inference.windows import Weighting, window_starts
from crossview.methods.blocks.components import largest_components
from crossview.runs.prepare import find_splits, preprocessing_of
from crossview.runs.run import stored_precision
from crossview.runs.weights import TrainedMethod, trained_method

WEIGHTINGS: tuple[Weighting, ...] = ("uniform", "gaussian")

NEAR = (0.05, 0.95)
"""Foreground probabilities next to a surface."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("--data", type=Path, help="default: the run's own")
    parser.add_argument("--cases", type=int, help="the first test cases; default: all")
    parser.add_argument("--stride", type=int, nargs=3, help="default: the recipe's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    given = parser.parse_args()
    found = trained_method(given.model, torch.device("cpu"))
    data = given.data or Path(RunFolder(given.model).environment["data"])
    stride = given.stride or found.recipe.inference.stride
    splits = find_splits(found.recipe, data)
    ready = preprocessing_of(found.recipe, splits)
    rows: list[dict[str, Any]] = []
    for case in splits.test[: given.cases]:
        rows += of_case(found, ready.case(case), case.spacing, stride)
        print(*rows[-len(WEIGHTINGS) :], sep="\n", flush=True)
    keys = ("dice", "hd95", "seam", "seam near the surface")
    table = [["weights", *keys]]
    for name in WEIGHTINGS:
        mine = [row for row in rows if row["weights"] == name]
        means = [np.nanmean([row[key] for row in mine]) for key in keys[:2]]
        largest, near = (max(row[key] for row in mine) for key in keys[2:])
        table.append([name, *map(float, (*means, largest, near))])
    settings = {"stride": list(stride), "patch": list(found.recipe.data.patch)}
    content = report("seams", settings, {"rows": rows}, torch.device("cpu"))
    finish(content, table, given.json)


def of_case(
    found: TrainedMethod, case: Case, spacing: Sequence[float] | None, stride: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Yield the measures of a case with uniform and with Gaussian weights."""
    assert case.read_label is not None
    image, truth = torch.from_numpy(case.read_image()), case.read_label()
    patch = tuple(found.recipe.data.patch)
    sides = [max(side, part) for side, part in zip(truth.shape, patch, strict=True)]
    before = [(side - real) // 2 for side, real in zip(sides, truth.shape, strict=True)]
    padded = torch.zeros(len(image), *sides)
    inside = tuple(slice(at, at + n) for at, n in zip(before, truth.shape, strict=True))
    padded[:, *inside] = image
    starts = [window_starts(*axis) for axis in zip(sides, patch, stride, strict=True)]
    corners = [*itertools.product(*starts)]
    maps = [probabilities(found, padded[(..., *box(corner, patch))]) for corner in corners]
    classes = 1 + len(maps[0])
    for name in WEIGHTINGS:
        axes = [gaussian(side) if name == "gaussian" else torch.ones(side) for side in patch]
        weight = axes[0][:, None, None] * axes[1][:, None] * axes[2]
        total, mass = summed(maps, corners, weight, sides)
        mean = total / mass
        label = torch.cat([1 - mean.sum(0, keepdim=True), mean]).argmax(0)[inside]
        chosen = label.numpy().astype(np.uint8)
        if found.recipe.inference.largest_component:
            chosen = largest_components(chosen[None], classes)[0]
        each = [measure(chosen == k, truth == k, spacing) for k in range(1, classes)]
        jumps, near = seams(maps, corners, weight, total, mass)
        yield {
            "case": case.id,
            "windows": len(corners),
            "weights": name,
            "dice": float(np.mean([one.dice for one in each])),
            "hd95": float(np.mean([one.hd95 for one in each])),
            "seam": float(jumps.max()),
            "seam near the surface": float(jumps[near].quantile(0.95)) if near.any() else 0.0,
        }


def probabilities(found: TrainedMethod, window: Tensor) -> Tensor:
    """Return the foreground probabilities (K-1, *patch) of one window (C, *patch)."""
    bf16 = stored_precision(found.recipe) == "bf16"
    batch = window[None].contiguous(memory_format=torch.channels_last_3d)
    with evaluating(found.method), torch.no_grad():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            views = found.method.views(batch)
        whole = found.method.combine({name: each.float() for name, each in views.items()})
    return whole[0, 1:]


def box(corner: Sequence[int], patch: Sequence[int]) -> tuple[slice, ...]:
    """Return the place of a window."""
    return tuple(slice(at, at + side) for at, side in zip(corner, patch, strict=True))


def summed(
    maps: Sequence[Tensor], corners: Sequence[Sequence[int]], weight: Tensor, sides: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of the windows' maps (K-1, *S) and of their weights (*S)."""
    total, mass = torch.zeros(len(maps[0]), *sides), torch.zeros(*sides)
    for one, corner in zip(maps, corners, strict=True):
        place = box(corner, weight.shape)
        total[(..., *place)] += one * weight
        mass[place] += weight
    return total, mass


def seams(
    maps: Sequence[Tensor],
    corners: Sequence[Sequence[int]],
    weight: Tensor,
    total: Tensor,
    mass: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the seams (n,) at all faces of windows, and where the surface is near, bool (n,)."""
    found, near = [], []
    for axis, side in enumerate(weight.shape):
        for start in {corner[axis] for corner in corners}:
            group = [number for number, corner in enumerate(corners) if corner[axis] == start]
            part = [maps[number] for number in group], [corners[number] for number in group]
            mine, weighed = summed(*part, weight, mass.shape)
            for plane in (start, start + side - 1):
                at = mass.select(axis, plane), weighed.select(axis, plane)
                others = at[0] - at[1]
                there = (others > 1e-6 * at[0]) & (at[1] > 0)
                whole = total.select(axis + 1, plane)
                with_it = (whole / at[0])[:, there]
                without = ((whole - mine.select(axis + 1, plane)) / others)[:, there]
                found.append((with_it - without).abs().flatten())
                near.append(((with_it > NEAR[0]) & (with_it < NEAR[1])).flatten())
    return torch.cat(found), torch.cat(near)


if __name__ == "__main__":
    run(main)
