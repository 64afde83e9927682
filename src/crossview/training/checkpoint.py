"""Checkpoints: weights, optimiser, position and best score.

They hold no generator state, because randomness is counter-based (crossview.core.rng). A checkpoint
is written to a temporary file, fsynced and renamed, so a kill at any moment leaves the previous one
intact. It is read with ``weights_only=True``: a checkpoint from a stranger cannot run code.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from crossview.core.errors import Problem, fail
from crossview.core.files import written_whole
from crossview.core.plugins import arguments
from crossview.training.options import current

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
        writer = ("iostream", "inline_container")
        if isinstance(error, RuntimeError) and not any(name in str(error) for name in writer):
            raise
        free = f"{shutil.disk_usage(path.parent).free / 2**20:,.0f} MiB free"
        method = str(content.get("recipe", {}).get("method", {}).get("name", ""))
        resume = " ".join(["crossview train RUN --resume", *arguments(method)])
        fail(
            "cannot write the checkpoint",
            path,
            found=(isinstance(error, OSError) and error.strerror) or free,
            fix=f"free disk space, then continue from the last checkpoint: {resume}",
        )


def read(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return a checkpoint's content.

    Raises UserError if the file is missing, damaged or of a different format version.
    """
    if not path.exists():
        others = ", ".join(sorted(file.stem for file in path.parent.glob("*.pt")))
        fail(
            "the checkpoint does not exist",
            path,
            found=f"only {others}" if others else "none in this run",
            fix="choose another checkpoint" if others else "train the run",
        )
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except MemoryError:
        raise
    except Exception:  # a damaged or hostile file can make the restricted reader fail in any way
        fail(
            "cannot read this checkpoint",
            path,
            found=f"{path.stat().st_size:,} bytes that are not a complete checkpoint",
            expected="a file of crossview train",
            fix="restore the file, or train again with --overwrite",
        )
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        fail(
            "this checkpoint has a different format",
            path,
            found=f"format {found}",
            expected=f"format {FORMAT}",
            fix="use the version of crossview that wrote it (see environment.json)",
        )
    return content | ({"recipe": current(content["recipe"])} if "recipe" in content else {})


def load_weights(
    method: torch.nn.Module,
    content: Mapping[str, Any],
    path: Path,
    different: Sequence[Problem] = (),
) -> None:
    """Load a checkpoint's weights into ``method``.

    Args:
        method: The method of the run's recipe.
        content: What ``read`` returned.
        path: The checkpoint's file, for messages.
        different: Differences of the checkpoint's recipe from the run's.

    Raises:
        UserError: If there are any, or keys or shapes of the weights differ.
    """
    different = list(different)
    try:
        method.load_state_dict(content["weights"])
    except (RuntimeError, KeyError):
        different.append(Problem("the weights are of different networks"))
    if different:
        found = [f"{each.where or each.what} {each.expected}".strip() for each in different[:5]]
        fail(
            "this checkpoint is of a different recipe",
            path,
            found="; ".join(found),
            expected="the recipe of its run folder",
            fix="restore the run's own checkpoint, or train again with --overwrite",
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
