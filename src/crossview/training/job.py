"""The parts of a training job, and its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from crossview.core.tensors import Batch
from crossview.data.stream import Stream
from crossview.methods.method import Method
from crossview.training.device import Precision
from crossview.training.distributed import ALONE, World
from crossview.training.options import TrainingOptions

Score = Mapping[str, Any]
"""{"mean": Dice, "classes": {"1": Dice}, "views": {name: {...}}} of cases scored in training."""


@dataclass
class Job:
    """The parts of a training run.

    score: scores the validation cases; None if nothing is scored during training.
    draw: draws a picture of a batch. score and draw are None in all processes but the first.
    resumed_with, warnings: entries of the journal about a resume.
    world: the processes that train together; only the first writes.
    recorded: True if passes are recorded as CUDA graphs and replayed.
    class_names: of all classes, for messages.
    """

    method: Method
    stream: Stream
    options: TrainingOptions
    folder: Path
    device: torch.device
    precision: Precision
    recipe: Mapping[str, Any]
    score: Callable[[], Score] | None = None
    draw: Callable[[Batch, Mapping[str, Tensor], Path], None] | None = None
    resumed_with: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    world: World = ALONE
    recorded: bool = False
    class_names: Sequence[str] = ()

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.pt"

    @property
    def selected(self) -> Path:
        return self.folder / "checkpoints" / "selected.pt"


@dataclass(frozen=True)
class Outcome:
    """The end of training: "finished", "paused" at max_steps, or "interrupted" by ``signal``."""

    how: Literal["finished", "paused", "interrupted"]
    total_step: int
    signal: int = 0
