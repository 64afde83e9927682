"""What a training is made of, and how it can end."""

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
"""{"mean": Dice, "classes": {"1": Dice}, "views": {name: {...}}} of the cases that are scored during training."""


@dataclass
class Job:
    """All that a training run needs.

    score: scores the validation cases; None where nothing is scored during training. draw: makes a picture of a batch.
    resumed_with, warnings: what the journal shall tell of a resume. world: the processes that train together, of which only the first
    writes; score and draw are its own. recorded: whether passes are recorded as CUDA graphs and replayed.
    class_names: of all classes, for what is told.
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
    """How training ended: "finished", "paused" at max_steps, or by a signal (its number)."""

    how: Literal["finished", "paused", "interrupted"]
    total_step: int
    signal: int = 0
