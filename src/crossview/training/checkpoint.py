"""Checkpoints: weights, optimiser, position and best score.

They hold no generator state, because randomness is counter-based (crossview.rng). A checkpoint is
written to a temporary file, fsynced and renamed, so a kill at any moment leaves the previous one
intact. It is read with ``weights_only=True``: a checkpoint from a stranger cannot run code.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from crossview.core.errors import Problem, UserError
from crossview.core.files import written_whole
from crossview.core.plugins import arguments
from crossview.recipe.layers import differences

FORMAT = 1


@dataclass(frozen=True)
class Position:
    """The position of training: ``step`` steps of stage ``stage`` are done, ``total_step`` in all.

    best_score, best_step: of the current stage's selected checkpoint (best_step counts within the
    stage; -1: none yet). ready: the current stage waited for its networks to learn, and they did.
    """

    stage: int = 0
    step: int = 0
    total_step: int = 0
    best_score: float = float("-inf")
    best_step: int = -1
    seconds: float = 0.0
    ready: bool = False


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint durably. If that fails, keep the old one and raise UserError."""
    try:
        with written_whole(path) as part:
            torch.save({"format": FORMAT, **content}, part)
    except (RuntimeError, OSError) as error:  # torch's writer raises its own error on a full disk
        if (
            isinstance(error, RuntimeError)
            and "iostream" not in str(error)
            and "inline_container" not in str(error)
        ):
            raise
        found = (
            isinstance(error, OSError) and error.strerror
        ) or f"{shutil.disk_usage(path.parent).free / 2**20:,.0f} MiB free"
        resume = " ".join(
            [
                "--resume",
                *arguments(str(content.get("recipe", {}).get("method", {}).get("name", ""))),
            ]
        )
        fix = (
            f"free disk space, then continue from the last checkpoint: crossview train RUN {resume}"
        )
        raise UserError(
            Problem("cannot write the checkpoint", str(path), found, fix=fix)
        ) from error


def read(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return a checkpoint's content.

    Raises UserError if the file is missing, damaged or of a different format version.
    """
    if not path.exists():
        others = sorted(file.stem for file in path.parent.glob("*.pt"))
        there, fix = (
            (f"only {', '.join(others)}", "choose another checkpoint")
            if others
            else ("none in this run", "train the run")
        )
        raise UserError(Problem("the checkpoint does not exist", str(path), there, fix=fix))
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except MemoryError:
        raise
    except (
        Exception
    ) as error:  # a damaged or hostile file can make the restricted reader fail in any way
        size, fix = (
            f"{path.stat().st_size:,} bytes that are not a complete checkpoint",
            "restore the file, or train again with --overwrite",
        )
        raise UserError(
            Problem(
                "cannot read this checkpoint", str(path), size, "a file of crossview train", fix
            )
        ) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise UserError(
            Problem(
                "this checkpoint has a different format",
                where=str(path),
                found=f"format {found}",
                expected=f"format {FORMAT}",
                fix="use the version of crossview that wrote it (see environment.json)",
            )
        )
    return content


def load_weights(
    method: torch.nn.Module, content: Mapping[str, Any], path: Path, recipe: Mapping[str, Any]
) -> None:
    """Load a checkpoint's weights into ``method``. Raise UserError if keys or shapes differ."""
    different = differences(content.get("recipe", {}), recipe) if "recipe" in content else []
    try:
        method.load_state_dict(content["weights"])
    except (RuntimeError, KeyError):
        different.append(Problem("the weights are of different networks"))
    if different:
        found = "; ".join(
            f"{problem.where or problem.what} {problem.expected}".strip()
            for problem in different[:5]
        )
        fix = "restore the run's own checkpoint, or train again with --overwrite"
        raise UserError(
            Problem(
                "this checkpoint is of a different recipe",
                str(path),
                found,
                "the recipe of its run folder",
                fix,
            )
        )


def training_state(
    method: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    position: Position,
    recipe: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of a training checkpoint."""
    return {
        "weights": method.state_dict(),
        "optimiser": optimiser.state_dict(),
        "position": asdict(position),
        "recipe": dict(recipe),
    }
