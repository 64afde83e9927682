"""The parts of a training job, what it resumes from, and its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from crossview.core.errors import Problem
from crossview.core.tensors import Batch
from crossview.data.stream import Stream
from crossview.methods.method import Method
from crossview.training.checkpoint import Position
from crossview.training.device import Precision, at_once
from crossview.training.distributed import ALONE, World
from crossview.training.options import TrainingOptions

Score = Mapping[str, Any]
"""{"mean": Dice, "classes": {"1": Dice}, "views": {name: {...}}} of cases scored in training."""


@dataclass
class Job:
    """The parts of a training run.

    Attributes:
        folder: The run folder, which exists.
        method: The method, on the stream's device.
        stream: The batches.
        options: The table [training], measured: without "auto" in MEASURED.
        recipe: All tables of the recipe, which checkpoints contain.
        class_names: Names of all classes, for messages.
        world: The processes that train together; only the first writes.
        score: Scores the validation cases; None if nothing is scored during training.
        draw: Draws a picture of a batch. score and draw are None in all processes but the first.
    """

    folder: Path
    method: Method
    stream: Stream
    options: TrainingOptions
    recipe: Mapping[str, Any]
    class_names: Sequence[str] = ()
    world: World = ALONE
    score: Callable[[], Score] | None = None
    draw: Callable[[Batch, Mapping[str, Tensor], Path], None] | None = None

    @property
    def device(self) -> torch.device:
        return self.stream.device

    @property
    def precision(self) -> Precision:
        return "bf16" if self.options.precision == "bf16" else "float32"

    @property
    def recorded(self) -> bool:
        """True if passes are recorded as CUDA graphs and replayed."""
        on_gpu = self.device.type == "cuda"
        return self.options.compile == "graphs" and on_gpu and not self.world.several

    def passes(self) -> AbstractContextManager[None]:
        """Return the context of training: independent networks may run at the same time."""
        on_cpu = self.device.type == "cpu" and not self.world.several
        parallel = self.options.parallel == "views" and on_cpu
        return at_once(self.method) if parallel else nullcontext()

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.pt"

    @property
    def selected(self) -> Path:
        return self.folder / "checkpoints" / "selected.pt"


@dataclass
class Resumed:
    """The checkpoint that a run is resumed from.

    Attributes:
        checkpoint: Its content.
        different: Differences of its recipe from the run's, which are an error.
        changed: Entries of the journal: the device, and keys of [training] with new values.
        warnings: Sentences about what differs from the environment that the run began in.
    """

    checkpoint: dict[str, Any]
    different: Sequence[Problem] = ()
    changed: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    @property
    def position(self) -> Position:
        return Position(**self.checkpoint["position"])


@dataclass(frozen=True)
class Outcome:
    """The end of training: "finished", "paused" at max_steps, or "interrupted" by ``signal``."""

    how: Literal["finished", "paused", "interrupted"]
    total_step: int
    signal: int = 0
