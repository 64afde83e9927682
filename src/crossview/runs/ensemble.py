"""Several runs that predict together: checked to see the same scans in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from crossview.core.errors import Problem, fail, raise_all
from crossview.inference.ensemble import Ensemble
from crossview.inference.origin import Origin, of_several, origin_of
from crossview.methods.method import Method
from crossview.recipe.resolve import Recipe
from crossview.runs.run import Run, stored_precision
from crossview.runs.weights import TrainedMethod, trained_method
from crossview.training.device import Precision

Runs = Run | Path | str | Sequence[Run | Path | str]

SAME = {
    "data": (
        "classes",
        "label_values",
        "regions",
        "spacing",
        "nifti_axes",
        "orientation",
        "colour",
        "normalisation",
        "intensities",
        "patch",
    ),
    "inference": ("mode", "stride", "window", "largest_component", "minimum_volume", "flips"),
}
"""Keys that decide what networks see of a scan, and what their predictions mean."""


def trained_methods(runs: Runs, device: torch.device) -> list[TrainedMethod]:
    """Return the method of each run, loaded once. Raise UserError if there is none."""
    several = [runs] if isinstance(runs, Run | Path | str) else list(runs)
    if not several:
        fail("no run is given", expected="at least one run folder or model.pt")
    return [trained_method(run, device) for run in several]


def check_alike(found: Sequence[TrainedMethod], recipes: Sequence[Recipe]) -> None:
    """Raise UserError with every reason why the runs' probabilities cannot be averaged.

    recipes: of the runs, with what the call changes.
    """
    first, *others = map(_facts, found, recipes)
    problems = [
        Problem(
            f"the runs cannot be averaged: they differ in {key}",
            f"run {number}",
            str(facts[key]),
            f"{first[key]}, as in run 1",
            "predict with each run alone, or with runs of one plan",
        )
        for number, facts in enumerate(others, start=2)
        for key in first
        if key in facts and first[key] != facts[key]
    ]
    weights = [origin_of("", 0, each.state["weights"], {})["weights"] for each in found]
    problems += [
        Problem("the same model is given twice", f"runs {weights.index(each) + 1} and {place + 1}")
        for place, each in enumerate(weights)
        if weights.index(each) < place
    ]
    raise_all(problems)


def _facts(found: TrainedMethod, recipe: Recipe) -> dict[str, Any]:
    """Return what must be the same in all runs, by name."""
    tables = recipe.tables()
    names = found.state.get("class_names")
    return {
        "the number of channels": found.channels,
        "the names of channel files": found.numbered,
        **({"the classes' names": list(names)} if names else {}),
        **{
            f"{table}.{key}": tables[table][key]
            for table, keys in SAME.items()
            for key in keys
            if key in tables[table]
        },
    }


def together(found: Sequence[TrainedMethod]) -> tuple[Method, Precision]:
    """Return one method for all runs, and the precision of its passes."""
    precisions = [stored_precision(each.recipe) for each in found]
    if len(found) == 1:
        return found[0].method, precisions[0]
    return Ensemble([each.method for each in found], precisions), "float32"


def origin(found: Sequence[TrainedMethod], inference: dict[str, Any]) -> Origin:
    """Return the origin of predictions; of several runs, that of each."""
    origins = [
        origin_of(each.recipe.method.name, each.step, each.state["weights"], inference)
        for each in found
    ]
    return origins[0] if len(origins) == 1 else of_several(origins)
