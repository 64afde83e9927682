"""HD95 and ASD of whole volumes against medpy's: ``python -m benchmarks.metrics [--data DIR]``.

medpy must be installed. Three kinds of predictions are made from the test labels of LA: plausible
(the border moved by a voxel or two in places), bad (shifted, halved, with specks), and noise. Both
compute HD95 and ASD of the same masks in turn, and the values must agree.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.timing import add_common, finish, report, run, seconds, spread
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks import made
from crossview.core.errors import Problem, UserError
from crossview.evaluation.metrics import measure
from crossview.recipe.resolve import resolve
from crossview.runs.prepare import find_splits

Mask = NDArray[np.bool_]


def plausible(truth: Mask, seed: int) -> Mask:
    """The border moved by smooth noise: Dice about 0.9."""
    generator = np.random.default_rng(seed)
    depth = gaussian_filter(truth.astype(np.float32), 2.0)
    moved = depth + 8 * gaussian_filter(
        generator.standard_normal(truth.shape, dtype=np.float32), 3.0
    )
    return np.asarray(np.where((depth > 0.02) & (depth < 0.98), moved, depth) > 0.5)


def bad(truth: Mask, seed: int) -> Mask:
    """Shifted by a fifth, half of it lost, and specks all over."""
    generator = np.random.default_rng(seed)
    moved = np.roll(truth, truth.shape[0] // 5, axis=0)
    moved[:, : truth.shape[1] // 2] = False
    return np.asarray(
        moved
        | (gaussian_filter(generator.standard_normal(truth.shape, dtype=np.float32), 2.0) > 0.17)
    )


def noise(truth: Mask, seed: int) -> Mask:
    """One voxel in a hundred, anywhere."""
    return np.asarray(np.random.default_rng(seed).random(truth.shape, dtype=np.float32) < 0.01)


KINDS = (plausible, bad, noise)


def by_medpy(prediction: Mask, truth: Mask) -> tuple[float, float]:
    """HD95 and ASD of medpy, in voxels."""
    from medpy.metric import binary

    return float(binary.hd95(prediction, truth)), float(binary.asd(prediction, truth))


def by_us(prediction: Mask, truth: Mask) -> tuple[float, float]:
    """The same of ours (which gives the other measures too)."""
    found = measure(prediction, truth)
    return found.hd95, found.asd


def compare(truths: list[Mask]) -> dict[str, Any]:
    """Return seconds per volume of each, their ratio, and the largest difference of a value."""
    results: dict[str, Any] = {}
    for kind in KINDS:
        theirs, ours, differences = [], [], []
        for number, truth in enumerate(truths):
            prediction, values = kind(truth, number), {}
            theirs.append(
                seconds(lambda p=prediction, t=truth, v=values: v.update(medpy=by_medpy(p, t)))
            )  # type: ignore[misc]
            ours.append(seconds(lambda p=prediction, t=truth, v=values: v.update(ours=by_us(p, t))))  # type: ignore[misc]
            differences.append(
                max(abs(a - b) for a, b in zip(values["medpy"], values["ours"], strict=True))
            )
        results[kind.__name__] = {
            "medpy_seconds": spread(theirs),
            "ours_seconds": spread(ours),
            "ratio": spread([a / b for a, b in zip(theirs, ours, strict=True)], 2),
            "ratio_of_totals": round(sum(theirs) / sum(ours), 2),
            "largest_difference": max(differences),
        }
    return results


def truths_of(data: Path | None, volumes: int) -> list[Mask]:
    """Test labels of LA as masks; made ones without data."""
    if data is None:
        return [
            made.label(made.LA_SHAPES[number % len(made.LA_SHAPES)], 2, number) > 0
            for number in range(volumes)
        ]
    cases = find_splits(resolve("la-8"), data).test[:volumes]
    return [case.read_label() > 0 for case in cases if case.read_label is not None]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, help="the real LA data; left out: made labels of true shapes"
    )
    parser.add_argument("--volumes", type=int, default=5)
    add_common(parser)
    arguments = parser.parse_args()
    try:
        import medpy  # noqa: F401
    except ImportError:
        raise UserError(
            Problem(
                "medpy is what ours is measured against",
                "medpy",
                "not installed",
                fix="pip install medpy",
            )
        ) from None
    results = compare(truths_of(arguments.data, arguments.volumes))
    rows: list[tuple[Any, ...]] = [
        (
            "prediction",
            "medpy (s)",
            "ours (s)",
            "ratio",
            "least to largest",
            "of totals",
            "difference",
        )
    ]
    for kind, found in results.items():
        ratio = found["ratio"]
        times = found["medpy_seconds"]["median"], found["ours_seconds"]["median"]
        between = f"{ratio['min']} to {ratio['max']}"
        rows.append(
            (
                kind,
                *times,
                ratio["median"],
                between,
                found["ratio_of_totals"],
                found["largest_difference"],
            )
        )
    settings = {
        "volumes": arguments.volumes,
        "data": "real" if arguments.data else "made labels of true shapes",
    }
    finish(report("metrics", settings, results, torch.device("cpu")), rows, arguments.json)


if __name__ == "__main__":
    run(main)
