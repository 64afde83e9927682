"""Does the map of ``predict --disagreement`` tell wrong voxels? ``python -m benchmarks.calibration RUN [--data DATA] [--split test]``.

Over the labelled cases of a split: the share of wrong voxels (prediction and label differ) by the map's value, the expected calibration
error (the mean distance of value and share of wrong voxels, by voxels, as if the value were a probability of being wrong), and the AUROC
of wrong against right voxels, with its 95 % bootstrap interval over cases. All of it twice: over all voxels, of which most are background
that nobody doubts, and over those that prediction or label give to a class. "map" names what ``--disagreement`` writes for this method;
where that is the disagreement of its views, the entropy of the prediction stands beside it. Writes
benchmarks/results/calibration-<setting>-<run>.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossview.errors import Problem, UserError
from crossview.evaluation.evaluate import predicted
from crossview.files import write_text
from crossview.folder import Run, load_method, stored_precision
from crossview.inference.disagreement import normalised_entropy
from crossview.job import make_predictor
from crossview.prepare import find_splits, preprocessing_of
from crossview.training.device import find_device, set_kernels

RESULTS = Path(__file__).parent / "results"
FINE = 1000
"""Steps of the map's value that are told apart."""
EDGES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
RESAMPLES = 2_000
Counts = NDArray[np.int64]
"""(2, FINE): right and wrong voxels by the map's value."""


def counts(value: NDArray[np.float32], wrong: NDArray[np.bool_]) -> Counts:
    """The voxels of one case; value: of the map, 0 to 1, and wrong, both of one shape."""
    step = np.minimum((value * FINE).astype(np.int64), FINE - 1)
    return np.stack(
        [np.bincount(step[wrong == is_wrong], minlength=FINE) for is_wrong in (False, True)]
    )


def auroc(found: Counts) -> float:
    """How often a wrong voxel has a higher value than a right one, equal ones counted half; NaN without both."""
    right, wrong = found
    pairs = float(right.sum()) * float(wrong.sum())
    below = np.concatenate([[0], np.cumsum(right)[:-1]])
    return float((wrong * (below + right / 2)).sum() / pairs) if pairs else float("nan")


def calibration_error(found: Counts) -> float:
    """The mean distance of the map's value and the share of wrong voxels, bin by bin of ``EDGES``, weighed by voxels."""
    rows = table(found)
    return sum(row["voxels"] * abs(row["mean_value"] - row["wrong"]) for row in rows) / sum(
        row["voxels"] for row in rows
    )


def table(found: Counts) -> list[dict[str, float]]:
    """Per bin of ``EDGES`` that has voxels: its ends, voxels, mean value, the share of them that is wrong, and of all wrong ones."""
    rows, middle = [], (np.arange(FINE) + 0.5) / FINE
    for low, high in itertools.pairwise(EDGES):
        part = slice(round(low * FINE), round(high * FINE))
        here = found[:, part]
        if voxels := int(here.sum()):
            mean = float((here.sum(0) * middle[part]).sum() / voxels)
            of_all = float(here[1].sum() / max(found[1].sum(), 1))
            row = {
                "from": low,
                "to": high,
                "voxels": voxels,
                "mean_value": mean,
                "wrong": float(here[1].sum() / voxels),
            }
            rows.append(row | {"of_all_wrong": of_all})
    return rows


def summary(cases: list[Counts]) -> dict[str, Any]:
    """All figures of one region, from the counts of each case."""
    whole = np.sum(cases, axis=0)
    random = np.random.Generator(np.random.Philox(0))
    draws = random.integers(len(cases), size=(RESAMPLES, len(cases)))
    resampled = [auroc(np.sum([cases[index] for index in draw], axis=0)) for draw in draws]
    return {
        "voxels": int(whole.sum()),
        "wrong": float(whole[1].sum() / whole.sum()),
        "auroc": auroc(whole),
        "auroc_ci95": [float(end) for end in np.nanpercentile(resampled, (2.5, 97.5))],
        "calibration_error": calibration_error(whole),
        "bins": table(whole),
    }


def measure(
    run: Run, data: Path | None = None, split: str = "test", device: str = "auto"
) -> dict[str, Any]:
    """The figures of a run on a split's cases. Raises UserError without such cases."""
    recipe = run.recipe
    splits = find_splits(
        recipe, data or (Path(run.environment["data"]) if run.environment.get("data") else None)
    )
    cases = splits.test if split == "test" else splits.validation
    if not cases:
        raise UserError(
            Problem(
                f"there are no {split} cases",
                str(data or run.environment.get("data")),
                fix="name some in split.toml",
            )
        )
    where = find_device(device)
    set_kernels(deterministic=False)
    method, step = load_method(recipe, run.checkpoint(None), splits.channels, where)
    predictor = make_predictor(recipe, method, where, stored_precision(recipe))
    maps: dict[str, tuple[list[Counts], list[Counts]]] = {}
    found: Iterable[Any] = predicted(
        predictor, cases, splits.classes, splits.channels, preprocessing_of(recipe, splits)
    )
    for _, _, label, prediction in found:
        wrong, marked = prediction.label != label, (prediction.label > 0) | (label > 0)
        values = {"entropy": normalised_entropy(torch.from_numpy(prediction.probability)).numpy()}
        if len(prediction.views) > 1 and prediction.peers:
            values["disagreement"] = prediction.disagreement
        for name, value in values.items():
            everywhere, in_question = maps.setdefault(name, ([], []))
            everywhere.append(counts(value, wrong))
            in_question.append(counts(value[marked], wrong[marked]))
    about = {
        "run": run.path.name,
        "step": step,
        "split": split,
        "cases": len(cases),
        "map": "disagreement" if "disagreement" in maps else "entropy",
    }
    regions = ("all_voxels", "predicted_or_true_class")
    return about | {
        name: dict(zip(regions, map(summary, of_map), strict=True)) for name, of_map in maps.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    given = parser.parse_args()
    try:
        run = Run.open(given.run)
        found = measure(run, given.data, given.split)
    except UserError as error:
        sys.exit(f"error: {error}")
    name = run.path.parent.name if run.recipe.setting == "folder" else run.recipe.setting
    print(json.dumps(found, indent=1))  # noqa: T201
    print(
        write_text(
            RESULTS / f"calibration-{name}-{run.path.name}.json", json.dumps(found, indent=1) + "\n"
        )
    )  # noqa: T201


if __name__ == "__main__":
    main()
