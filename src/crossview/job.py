"""The parts that a recipe describes, put together: the training job and the predictor."""

from __future__ import annotations

from contextlib import nullcontext
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
from crossview.training.recording import Recordings


def make_job(path: Path, recipe: Recipe, prepared: Prepared, method: Method, world: World) -> Job:
    """Return the training job of a recipe, with compiled networks if the recipe asks for them."""
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
        score=(
            lambda: quick_dice(predictor, scored, splits.classes, splits.channels, preprocessing)
        )
        if scored and world.first
        else None,
        draw=draw_batch if world.first else None,
        world=world,
        class_names=splits.class_names,
        recorded=recordable(recipe, prepared.device) and not world.several,
    )


def recordable(recipe: Recipe, device: torch.device) -> bool:
    """True if passes are recorded as CUDA graphs: the recipe asks for it, and this is a GPU."""
    return recipe.training.compile == "graphs" and device.type == "cuda"


def make_predictor(
    recipe: Recipe,
    method: Method,
    device: torch.device,
    precision: Precision,
    progress: Progress | None = None,
    *,
    many: bool = False,
) -> Predictor:
    """Return the recipe's predictor. many: for a whole set, so passes are recorded if possible."""
    options = recipe.inference
    passes = (
        Recordings(networks_of(method)).passes
        if many and recordable(recipe, device)
        else nullcontext
    )
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
        passes=passes,
    )
