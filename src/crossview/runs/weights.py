"""Trained weights: model.pt written, and a method loaded from it or from a run's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossview.core.environment import VERSION
from crossview.core.errors import fail
from crossview.data.case import Splits
from crossview.methods.method import Method
from crossview.recipe.layers import differences
from crossview.recipe.resolve import Recipe, resolve
from crossview.runs.run import Run
from crossview.training import checkpoint
from crossview.training.device import place


def write_model(run: Run, splits: Splits) -> Path:
    """Write model.pt, the file to share: weights, recipe, classes, all that ``predict`` needs."""
    state = checkpoint.read(run.checkpoint())
    content = {
        "weights": state["weights"],
        "recipe": run.recipe.tables(),
        "classes": splits.classes,
        "class_names": list(splits.class_names),
        "channels": splits.channels,
        "numbered": splits.numbered,
        "step": state["position"]["total_step"],
        "crossview": VERSION,
    }
    path = run.path / "model.pt"
    checkpoint.write(path, content)
    return path


@dataclass(frozen=True)
class TrainedMethod:
    """A trained method on its device.

    Attributes:
        numbered: True if it was trained on files <case>_0000.
        step: The training step of its weights.
        state: The whole content of its file; of a checkpoint, with that of environment.json.
    """

    recipe: Recipe
    method: Method
    channels: int
    numbered: bool
    step: int
    state: Mapping[str, Any]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, background first; "class k" in files of earlier versions."""
        unnamed = (f"class {number}" for number in range(1, self.recipe.data.classes))
        return tuple(self.state.get("class_names") or ("background", *unnamed))


def trained_method(run: Run | Path | str, device: torch.device) -> TrainedMethod:
    """Return the method of a model.pt, or of a run folder.

    A run folder's model.pt is preferred to its checkpoint. Raise UserError if none can be read.
    """
    if not isinstance(run, Run) and Path(run).is_file():
        path = Path(run)
        state = checkpoint.read(path)
        recipe = resolve(state.get("recipe", {}))
    else:
        run = run if isinstance(run, Run) else Run.open(run)
        path = model if (model := run.path / "model.pt").exists() else run.checkpoint()
        state, recipe = dict(run.environment) | checkpoint.read(path), run.recipe
    channels = state.get("channels") or _channels_of(state.get("weights", {}), recipe)
    return _loaded(recipe, state, path, int(channels), device)


def _channels_of(weights: Mapping[str, Tensor], recipe: Recipe) -> int:
    """Return the number of input channels of weights whose run does not record it."""
    with torch.device("meta"):
        of_one = recipe.build_method(1).state_dict()
    more = [
        weights[name].shape[1]
        for name, tensor in of_one.items()
        if name in weights and weights[name].shape != tensor.shape and tensor.shape[1:2] == (1,)
    ]
    return max(more, default=1)


def load_method(
    recipe: Recipe, path: Path, channels: int, device: torch.device
) -> tuple[Method, int]:
    """Return the method with a checkpoint's weights, and the step of these weights.

    Raise UserError for a checkpoint of another recipe.
    """
    found = _loaded(recipe, checkpoint.read(path), path, channels, device)
    return found.method, found.step


def _loaded(
    recipe: Recipe, state: Mapping[str, Any], path: Path, channels: int, device: torch.device
) -> TrainedMethod:
    method = recipe.build_method(channels)
    different = differences(state["recipe"], recipe.tables()) if "recipe" in state else []
    checkpoint.load_weights(method, state, path, different)
    place(method, device, len(recipe.data.patch))
    position = state.get("position", {"total_step": state.get("step")})
    step = position.get("total_step") if isinstance(position, Mapping) else None
    if type(step) is not int:
        fail(
            "the checkpoint does not say of which step it is",
            path,
            found=step,
            expected="a number of steps",
            fix="restore the file, or train again with --overwrite",
        )
    return TrainedMethod(recipe, method, channels, bool(state.get("numbered")), step, state)
