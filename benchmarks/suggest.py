"""Does doubt tell which scans go wrong? ``python -m benchmarks.suggest RUN`` for a run of recipe "folder" whose hidden labels are there.

The rank correlation (Spearman) of each score of crossview.evaluation.suggest with the true Dice over the unlabelled scans, its 95 %
bootstrap interval over scans, and the mean Dice of the 10 % that a score doubts most beside that of all. Writes
benchmarks/results/suggest-<setting>-<run>.json.
"""

from __future__ import annotations

import argparse
import json
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from crossview.data.sources import folder
from crossview.evaluation.metrics import overlap
from crossview.evaluation.suggest import doubt
from crossview.files import write_text
from crossview.folder import Run, load_method, stored_precision
from crossview.inference.predict import Prediction
from crossview.job import make_predictor
from crossview.prepare import find_splits, preprocessing_of
from crossview.training.device import find_device, set_kernels

RESULTS = Path(__file__).parent / "results"
RESAMPLES = 2_000


def scores_of(prediction: Prediction) -> dict[str, float]:
    """Every score of doubt that the prediction allows."""
    found = {"expected_dice": doubt(prediction, "expected_dice")}
    marked = prediction.label > 0
    found["mean_disagreement"] = (
        float(prediction.disagreement[marked].mean()) if marked.any() else 1.0
    )
    return found | ({"views": doubt(prediction, "views")} if len(prediction.views) > 1 else {})


def measure(run: Run, device: str = "auto") -> dict[str, Any]:
    """Doubt and true Dice of every unlabelled scan, and how they go together."""
    recipe, root = run.recipe, Path(run.environment["data"])
    splits = find_splits(recipe, root)
    known = folder.find_cases(root, recipe.data.nifti_axes)
    labels = {
        case.id: case.read_label
        for case in (*known.labelled, *known.hidden)
        if case.read_label is not None
    }
    cases = [case for case in splits.unlabelled if case.id in labels]
    where = find_device(device)
    set_kernels(deterministic=False)
    method, step = load_method(recipe, run.checkpoint(None), splits.channels, where)
    predictor = make_predictor(recipe, method, where, stored_precision(recipe))
    first, second = tee((case.read_image() for case in cases), 2)
    preprocessing = preprocessing_of(recipe, splits)
    ready = (
        preprocessing.image(image, case.spacing) for case, image in zip(cases, first, strict=True)
    )
    rows = []
    for case, prediction in zip(
        cases, predictor.predict(ready, (image.shape[1:] for image in second)), strict=True
    ):
        label = labels[case.id]()
        dice = [
            overlap(prediction.label == index, label == index)[0]
            for index in range(1, splits.classes)
        ]
        rows.append({"case": case.id, "dice": float(np.nanmean(dice)), **scores_of(prediction)})
    return {
        "run": run.path.name,
        "step": step,
        "scans": len(rows),
        "correlation": correlations(rows),
        "cases": rows,
    }


def correlations(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Spearman's rank correlation of each score with Dice (-1: doubt orders the scans exactly), with its interval, and the worst tenth."""
    dice = np.array([row["dice"] for row in rows])
    random = np.random.Generator(np.random.Philox(0))
    draws = random.integers(len(rows), size=(RESAMPLES, len(rows)))
    found: dict[str, Any] = {"mean_dice": float(dice.mean())}
    for name in (key for key in rows[0] if key not in ("case", "dice")):
        values = np.array([row[name] for row in rows])
        resampled = [spearmanr(values[draw], dice[draw])[0] for draw in draws]
        tenth = np.argsort(-values)[: max(1, len(rows) // 10)]
        found[name] = {
            "spearman": float(spearmanr(values, dice)[0]),
            "ci95": [float(end) for end in np.nanpercentile(resampled, (2.5, 97.5))],
            "mean_dice_of_the_most_doubtful_tenth": float(dice[tenth].mean()),
            "mean_dice_of_the_worst_tenth": float(np.sort(dice)[: len(tenth)].mean()),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run = Run.open(parser.parse_args().run)
    found = measure(run)
    recipe = run.recipe
    path = RESULTS / f"suggest-{recipe.setting}-{run.path.name}.json"
    print(json.dumps({key: value for key, value in found.items() if key != "cases"}, indent=1))  # noqa: T201
    print(write_text(path, json.dumps(found, indent=1) + "\n"))  # noqa: T201


if __name__ == "__main__":
    main()
