"""The estimated Dice against the true one: ``python -m benchmarks.estimate RUN LABELS``.

RUN was evaluated on held-out scans (``crossview evaluate``, also with ``--split validation``); the
line is fitted to these. LABELS holds the true labels of its unlabelled scans, <case>.nii.gz, which
the run has not seen: all of them are predicted and compared with their estimate and with the mean
Dice of the held-out scans.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from crossview.core.errors import fail
from crossview.core.files import write_text
from crossview.data.case import Case
from crossview.evaluation.estimate import FEWEST, Estimate, HeldOut, fitted, held_out
from crossview.evaluation.metrics import overlap
from crossview.inference.items import CaseItem
from crossview.runs.prepare import find_splits, preprocessing_of
from crossview.runs.run import Run, make_predictor
from crossview.runs.weights import load_method


def compared(estimate: Estimate, scans: Sequence[HeldOut]) -> dict[str, Any]:
    """Return the errors of estimate and mean on scans, in points of Dice, and the rank correlation.

    Scans whose promised Dice is outside the held-out range have no estimate and are not counted.
    """
    inside = [each for each in scans if estimate.lowest <= each.expected <= estimate.highest]
    line = np.array([estimate.on_line(each.expected) for each in inside])
    dice = np.array([each.dice for each in inside])
    return {
        "fitted_to": estimate.scans,
        "error_left_out": 100 * estimate.error,
        "error_of_mean_left_out": 100 * estimate.error_of_mean,
        "shown": estimate.useful,
        "scans": len(inside),
        "without_estimate": len(scans) - len(inside),
        "error": 100 * float(np.abs(line - dice).mean()),
        "error_of_mean": 100 * float(np.abs(estimate.mean - dice).mean()),
        "rank_correlation": float(spearmanr([each.expected for each in inside], dice)[0]),
    }


def measured(run: Run, labels: Path) -> tuple[int, list[HeldOut]]:
    """Return the step of a run's weights, and its unlabelled scans, predicted and scored."""
    splits = find_splits(run.recipe, run.data_root(None))
    method, step = load_method(run.recipe, run.checkpoint(), splits.channels, torch.device("cpu"))
    predictor = make_predictor(run.recipe, method, torch.device("cpu"), "float32")
    preprocessing = preprocessing_of(run.recipe, splits)

    def item(case: Case) -> CaseItem:
        return CaseItem(case, case.read_image(), preprocessing)

    found = []
    for each, prediction in predictor.predict(map(item, splits.unlabelled)):
        case = each.case
        if case.read_label_at is None:
            fail("labels are compared for folders of scans only", case.where)
        truth = case.read_label_at(labels / f"{case.id}.nii.gz")
        classes = range(1, splits.classes)
        dice = [overlap(prediction.label == number, truth == number)[0] for number in classes]
        found.append(HeldOut(case.patient, prediction.expected, float(np.nanmean(dice))))
    return step, found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--out", type=Path, help="also write the figures to this file")
    asked = parser.parse_args(arguments)
    run = Run.open(asked.run)
    step, scans = measured(run, asked.labels)
    estimate = fitted(held_out(run, step))
    if estimate is None:
        expected, fix = f"{FEWEST} or more patients", run.command("evaluate")
        fail("too few held-out scans are evaluated", run.path, expected=expected, fix=fix)
    text = json.dumps(compared(estimate, scans), indent=1)
    print(text)
    if asked.out is not None:
        write_text(asked.out, text + "\n")


if __name__ == "__main__":
    main()
