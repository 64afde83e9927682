"""What a recipe describes, put together: the way from an image to a prediction, and all that training needs."""

from __future__ import annotations

from pathlib import Path

import torch

from crossview.drawing import draw_batch
from crossview.evaluation.evaluate import quick_dice
from crossview.folder import stored_precision
from crossview.inference.predict import Predictor
from crossview.methods.method import Method
from crossview.prepare import Prepared, Progress, preprocessing_of, scored_cases
from crossview.resolve import Recipe
from crossview.training.compiling import compile_networks, networks_of
from crossview.training.device import Precision
from crossview.training.distributed import World
from crossview.training.job import Job


def make_job(path: Path, recipe: Recipe, prepared: Prepared, method: Method, world: World) -> Job:
    """The training of a recipe into the run folder ``path``; its networks are compiled where the recipe says so."""
    splits = prepared.splits
    scored = scored_cases(recipe, splits)
    precision = stored_precision(recipe)
    predictor = make_predictor(recipe, method, prepared.device, precision)
    preprocessing = preprocessing_of(recipe, splits)
    if recipe.training.compile is True:
        compile_networks(networks_of(method))
    return Job(
        method=method,
        stream=prepared.stream,
        options=recipe.training,
        folder=path,
        device=prepared.device,
        precision=precision,
        recipe=recipe.tables(),
        score=(lambda: quick_dice(predictor, scored, splits.classes, splits.channels, preprocessing)) if scored and world.first else None,
        draw=draw_batch if world.first else None,
        world=world,
        recorded=recipe.training.compile == "graphs" and prepared.device.type == "cuda" and not world.several,  # a resume may differ
    )


def make_predictor(
    recipe: Recipe, method: Method, device: torch.device, precision: Precision, progress: Progress | None = None
) -> Predictor:
    """The recipe's way from an image to a prediction."""
    options = recipe.inference
    return Predictor(
        method,
        mode=options.mode,
        patch=recipe.data.patch,
        stride=options.stride,
        largest_component=options.largest_component,
        batch=options.batch,
        flips=options.flips,
        device=device,
        precision=precision,
        progress=progress,
    )
