"""The package's training loop (``Training.run_stage``), stopped between steps to read the clock.

:class:`Paused` turns any loop that calls something once per iteration into one that advances by
one iteration on request, so that two loops can run in turn.
"""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from benchmarks.timing import Clock

from benchmarks import made
from crossview.core.errors import Problem, UserError
from crossview.data.prefetch import Prefetcher
from crossview.methods.method import Stage
from crossview.recipe.planned import resolve_planned
from crossview.recipe.resolve import Recipe, resolve
from crossview.runs import prepare as preparing
from crossview.runs.prepare import Prepared, prepare
from crossview.runs.train import new_method
from crossview.training import loop
from crossview.training.device import Precision, measure, set_kernels
from crossview.training.job import Job
from crossview.training.loop import Training
from crossview.training.progress import TrainingProgress


@dataclass
class Loop:
    """Training that is ready for steps of one stage, its parts, and its measured recipe."""

    recipe: Recipe
    prepared: Prepared
    training: Training
    stage: Stage
    index: int
    precision: Precision

    @property
    def device(self) -> torch.device:
        return self.training.job.device

    def times(self, steps: int, warm_up: int = 1) -> tuple[list[float], list[float]]:
        """Return seconds per step of the unchanged loop, and its waits; nothing is synchronised."""
        clock = Clock(self.device)
        waits: list[float] = []
        kept: list[Prefetcher] = []

        class Kept(Prefetcher):
            def __init__(self, *arguments: Any, **named: Any) -> None:
                super().__init__(*arguments, **named)
                kept.append(self)

        def stop() -> bool:
            waits.append(kept[0].waited)
            clock.mark()
            return len(clock.marks) > warm_up + steps

        with mock.patch.object(loop, "Prefetcher", Kept):
            self.training.run_stage(self.stage, stop)
        waited = [after - before for before, after in pairwise(waits)]
        return clock.intervals()[warm_up:], waited[warm_up:]

    def run(self, stop: Callable[[], bool]) -> None:
        """The loop from where it stands, until ``stop``, which it asks before every step."""
        self.training.run_stage(self.stage, stop)


def prepared_of(recipe: str | Path, data: Path | None, overrides: Sequence[str]) -> Prepared:
    """The recipe on its data; without data on made volumes of true shapes. Raises UserError."""
    if data is not None:
        return prepare(resolve_planned(recipe, overrides, data)[0], data)
    resolved = resolve(recipe, overrides)
    if resolved.data.source == "phantom":
        return prepare(resolved, None)
    with mock.patch.object(preparing, "find_splits", return_value=made.splits(resolved)):
        return prepare(resolved, None)


@contextmanager
def loop_of(prepared: Prepared, *, stage: str = "", precision: str = "") -> Iterator[Loop]:
    """Return the loop at the start of a stage (default: the last), in a temporary folder."""
    recipe = prepared.recipe
    set_kernels(recipe.training.deterministic)
    method = new_method(recipe, prepared)
    names = [each.name for each in method.stages]
    if stage and stage not in names:
        raise UserError(
            Problem(f"the method has no stage '{stage}'", "--stage", expected=", ".join(names))
        )
    index = names.index(stage) if stage else len(names) - 1
    first = prepared.stream.batch(0, 0, unlabelled=method.stages[0].unlabelled)
    asked = recipe.training.model_copy(update={"precision": precision} if precision else {})
    recipe = resolve(recipe.tables(), measure(asked, method, first)[0])
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder), method, prepared.stream, recipe.training, recipe.tables())
        with TrainingProgress(method.stages, recipe.training, stream=io.StringIO()) as progress:
            training = Training(job, progress)
            training.start_stage(index, training.stages[index])
            with job.passes():
                yield Loop(recipe, prepared, training, training.stages[index], index, job.precision)


class Ended(BaseException):
    """Ends a paused loop from outside."""


class Paused:
    """Thread that runs ``work(pause)``, which waits in ``pause`` per iteration for ``advance``."""

    def __init__(self, work: Callable[[Callable[[], None]], None]) -> None:
        self._go, self._there = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._ending = self._over = False
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[Callable[[], None]], None]) -> None:
        self._go.acquire()
        try:
            if not self._ending:
                work(self._pause)
        except Ended:
            pass
        except BaseException as error:
            self._error = error
        self._over = True
        self._there.release()

    def _pause(self) -> None:
        self._there.release()
        self._go.acquire()
        if self._ending:
            raise Ended

    def advance(self) -> None:
        """Run to the next pause. Raises the loop's exception, or RuntimeError if it ended."""
        self._go.release()
        self._there.acquire()
        if self._error is not None:
            raise self._error
        if self._over:
            raise RuntimeError("the loop ended before it was told to")

    def close(self) -> None:
        """End the loop where it waits."""
        if not self._over:
            self._ending = True
            self._go.release()
            self._thread.join()
