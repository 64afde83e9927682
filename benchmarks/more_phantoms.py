"""Test Dice of the demonstration's runs on further phantoms: ``python -m benchmarks.more_phantoms RUN... [--phantoms N]``.

The demonstration tests on 20 phantoms, of which two or three are hard, so a mean over seeds still hangs on those. Here each run predicts N
phantoms that come after them, in the precision it was trained in.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.timing import add_common, finish, report, run

from crossview.errors import Problem, UserError
from crossview.evaluation.metrics import overlap
from crossview.folder import Run, stored_precision, trained_method
from crossview.job import make_predictor
from crossview.prepare import find_splits
from crossview.resolve import resolve
from crossview.training.device import find_device, set_kernels


def measure(runs: list[Run], device: torch.device, phantoms: int) -> dict[str, Any]:
    """By run: its precision, its seed, and the Dice of each of so many phantoms after its own test cases. Raises UserError."""
    results = {}
    for one in runs:
        recipe = one.recipe
        if recipe.data.source != "phantom":
            raise UserError(
                Problem(
                    "only runs on phantoms can be tested on more of them",
                    str(one.path),
                    recipe.data.source,
                    "phantom",
                )
            )
        own = recipe.data.test  # type: ignore[attr-defined]
        cases = find_splits(resolve(recipe.tables(), [f"data.test={own + phantoms}"]), None).test[
            own:
        ]
        method, precision = trained_method(one, device).method, stored_precision(recipe)
        predictions = make_predictor(recipe, method, device, precision).predict(
            case.read_image() for case in cases
        )
        dice = [
            overlap(found.label > 0, case.read_label() > 0)[0]
            for found, case in zip(predictions, cases, strict=True)
        ]  # type: ignore[misc]
        name = f"{recipe.method.name}, {precision}, seed {recipe.training.seed}"
        results[name] = {
            "dice": round(float(np.mean(dice)), 5),
            "cases": [round(value, 5) for value in dice],
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path)
    parser.add_argument("--phantoms", type=int, default=100)
    add_common(parser)
    options = parser.parse_args()
    device = find_device(options.device)
    set_kernels(deterministic=False)
    results = measure([Run.open(path) for path in options.runs], device, options.phantoms)
    rows = [
        ("run", "Dice %", "median"),
        *(
            (name, 100 * found["dice"], 100 * np.median(found["cases"]))
            for name, found in results.items()
        ),
    ]
    finish(
        report("more_phantoms", {"phantoms": options.phantoms}, results, device), rows, options.json
    )


if __name__ == "__main__":
    run(main)
