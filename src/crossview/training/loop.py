"""The training loop: restore, then the steps of each stage, then the end.

Step k depends only on (seed, stage, k), the weights and the optimiser. A run that was stopped at
any step therefore resumes exactly as if it had not been stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from crossview.core.journal import Journal
from crossview.core.rng import Randomness
from crossview.core.run_folder import JOURNAL
from crossview.core.signals import stop_signals
from crossview.core.tensors import Batch
from crossview.data.prefetch import Prefetcher, Request
from crossview.methods.method import Stage
from crossview.training import checkpoint
from crossview.training.checkpoint import Position
from crossview.training.device import autocast, networks_of
from crossview.training.graphs import Recordings
from crossview.training.job import Job, Outcome, Resumed
from crossview.training.optimiser import Divergence, Guard, learning_rate, make_optimiser
from crossview.training.progress import TrainingProgress
from crossview.training.stages import Length, behind, in_vain, lacking, last_crops, learned, length
from crossview.training.step import backpropagate
from crossview.training.window import Window


def train(job: Job, resumed: Resumed | None = None, max_steps: int | None = None) -> Outcome:
    """Train ``job`` to its end, to ``max_steps`` steps of the run, or to a signal, and save.

    Raises UserError if training diverges or does not fit the checkpoint that it resumes from.
    """
    world, begin = job.world, resumed.position.total_step if resumed else 0
    world.agree("the checkpoint to resume from", f"step {begin}")
    with (
        TrainingProgress(job.method.stages, job.options, begin, silent=not world.first) as progress,
        stop_signals(once=world.several) as caught,
        job.passes(),
    ):
        training = Training(job, progress)
        signal = 0

        def stop() -> bool:
            nonlocal signal
            signal = signal or world.signal(caught)
            reached = max_steps is not None and training.position.total_step >= max_steps
            return bool(signal) or reached

        if resumed is None:
            training.save()  # from here on the run can be resumed
        else:
            training.restore(resumed)
        try:
            training.run_stages(stop)
        finally:
            training.recordings.close()
        training.save()
        done = training.position.total_step
        if done == training.steps:
            training.record("finished", seconds=round(training.seconds(), 3))
            return Outcome("finished", done, signal)
        training.record("stopped")
        return Outcome("interrupted" if signal else "paused", done, signal)


def _steps(job: Job) -> int:
    return sum(stage.steps for stage in job.method.stages)


class Training:
    """The state of a run while it trains: position, optimiser, guard, clocks."""

    def __init__(self, job: Job, progress: TrainingProgress) -> None:
        self.job, self.progress, self.world = job, progress, job.world
        self.journal = Journal(job.folder / JOURNAL, writes=self.world.first)
        self.stages, self.steps = job.method.stages, _steps(job)
        self.position = Position()
        self.begun = self.saved = time.monotonic()
        self.divergence = Divergence()
        self.recordings = Recordings(networks_of(job.method) if job.recorded else ())
        self._new_optimiser()

    def _new_optimiser(self, state: dict[str, Any] | None = None) -> None:
        self.optimiser = make_optimiser(self.job.method.parameters(), self.job.options)
        if state is not None:
            self.optimiser.load_state_dict(state)
        self.guard = Guard(self.job.method, self.optimiser)

    def seconds(self) -> float:
        """Return the seconds of training since the run began, including those before a resume."""
        return self.position.seconds + time.monotonic() - self.begun

    def record(self, kind: str, stage: Stage | None = None, **values: Any) -> None:
        """Append a row to the journal and show it. stage: adds its name and the step in it."""
        at = {} if stage is None else {"stage": stage.name, "step": self.position.step}
        row = self.journal.append(kind, **at, total_step=self.position.total_step, **values)
        self.progress.show(row)

    # -- checkpoints -------------------------------------------------------------------------

    def save(self) -> None:
        if self.world.first:
            state = checkpoint.training_state(
                self.job.method,
                self.optimiser,
                replace(self.position, seconds=self.seconds()),
                self.job.recipe,
            )
            checkpoint.write(self.job.last, state)
            self.saved = time.monotonic()

    def save_selected(self) -> None:
        """Write last.pt, then selected.pt; after a kill between them, ``restore`` writes it."""
        self.save()
        checkpoint.write(self.job.selected, checkpoint.read(self.job.last))

    def restore(self, resumed: Resumed) -> None:
        job, state = self.job, resumed.checkpoint
        checkpoint.load_weights(job.method, state, job.last, resumed.different)
        self._new_optimiser(state["optimiser"])
        self.position = resumed.position
        self.begun = time.monotonic()
        self.journal.cut_after(self.position.total_step)
        self.record("resumed", **resumed.changed)
        for text in resumed.warnings:
            self.record("warning", text=text)
        is_best = self.position.best_step == self.position.step
        if self.world.first and job.options.selection != "last" and is_best:
            checkpoint.write(job.selected, state)
        resumed.checkpoint = {}  # frees its memory

    # -- stages ------------------------------------------------------------------------------

    def run_stages(self, stop: Callable[[], bool]) -> None:
        """Train from the position on, until all steps are done or ``stop`` is true."""
        for index in range(self.position.stage, len(self.stages)):
            if self.position.total_step == self.steps or stop():
                return
            if index > self.position.stage or self.position.step == 0:
                self.start_stage(index, self.stages[index])
            # A stage that has started does a step, so that a resume does not start it again.
            self.run_stage(self.stages[index], lambda: self.position.step > 0 and stop())

    def start_stage(self, index: int, stage: Stage) -> None:
        # Networks that the stage waited for keep their weights: an earlier checkpoint may be from
        # before they had learned.
        selects = self.job.options.selection != "last" and not self.position.ready
        selected = stage.from_selected and selects and self.job.selected.exists()
        state = checkpoint.read(self.job.selected) if selected else None
        if state is not None:
            self.job.method.load_state_dict(state["weights"])
        if not stage.keep_optimiser:
            self._new_optimiser()
        elif state is not None:
            self._new_optimiser(state["optimiser"])
        self.position = Position(
            stage=index, total_step=self.position.total_step, seconds=self.position.seconds
        )
        self.job.method.begin(stage)
        self.recordings.forget()
        self.optimiser.zero_grad(set_to_none=True)
        length = self.length()
        row = self.journal.append(
            "stage",
            stage=stage.name,
            index=index,
            steps=length.meant,
            unlabelled=stage.unlabelled,
            ready_dice=stage.ready_dice if length.waits else 0.0,
            total_step=self.position.total_step,
        )
        self.progress.show(row)

    def length(self) -> Length:
        """Return the length of the stage at the position."""
        begun = self.position.total_step - self.position.step
        return length(self.stages, self.position.stage, begun)

    def run_stage(self, stage: Stage, stop: Callable[[], bool]) -> None:
        """Do the steps of a stage from the position on, until it ends or ``stop`` is true."""
        job, length = self.job, self.length()
        index, steps = self.position.stage, range(self.position.step, length.most)
        requests = (Request(index, step, stage.unlabelled) for step in steps)
        with Prefetcher(job.stream, requests, workers=job.options.workers) as batches:
            self.recordings.wait_by(batches.rest)
            window = Window()
            for step in steps:
                if self.position.ready or stop():
                    break
                may_end = length.may_end(step + 1)
                batch = self._marked(next(batches), step, log=may_end)
                window.add(self.step(batch, stage, step), batch)
                total = self.position.total_step + 1
                self.position = replace(self.position, step=step + 1, total_step=total)
                self.progress.advance(total, index)
                if batch.watch:
                    self.log(stage, window, batches.waited)
                    window = Window(waited=batches.waited)
                if batch.show and job.draw is not None:
                    name = f"{index + 1:02d}-{stage.name}-step-{step:06d}.png"
                    job.draw(batch, job.method.show, job.folder / "pictures" / name)
                job.method.show.clear()
                if may_end and length.waits:
                    self.look(stage, ended=step + 1 == length.most)
                last = step + 1 in (length.meant, length.most) or self.position.ready
                if last or (step + 1) % job.options.evaluate_every == 0:
                    self.score(stage)
                if time.monotonic() - self.saved >= job.options.checkpoint_every:
                    self.save()
        self.check_finite(stage)

    # -- one step ----------------------------------------------------------------------------

    def _marked(self, batch: Batch, step: int, log: bool) -> Batch:
        options, draws = self.job.options, self.job.draw is not None
        due = (self.position.total_step + 1) % options.log_every == 0
        show = draws and step % options.picture_every == 0
        return replace(batch, watch=due or log, show=show)

    def step(self, batch: Batch, stage: Stage, step: int) -> dict[str, Tensor]:
        """Do one optimiser step and return the loss terms, on the device."""
        method, options, place = self.job.method, self.job.options, self.position
        method.train()
        self.recordings.begin()
        randomness = Randomness(options.seed, place.stage, step)
        torch.manual_seed(randomness.number("dropout", self.world.rank))
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(options, place.total_step, self.steps)
        self.optimiser.zero_grad(set_to_none=not self.recordings)
        self.guard.open()
        terms = backpropagate(method, batch, stage, step, self._forward)
        terms = self.world.average(self.optimiser.param_groups[0]["params"], terms)
        self.guard.step(step, list(terms.values()))
        method.after_step(stage, step)
        return terms

    @contextmanager
    def _forward(self) -> Iterator[None]:
        """Run forward passes in the run's precision, recorded if the run records them."""
        with autocast(self.job.device, self.job.precision), self.recordings.passes():
            yield

    # -- after a step ------------------------------------------------------------------------

    def log(self, stage: Stage, window: Window, waited: float) -> None:
        self.check_finite(stage)
        health = self.job.method.health
        shared = self.world.mean({name: value.item() for name, value in health.items()})
        health.clear()
        self.record(
            "step",
            stage,
            learning_rate=self.optimiser.param_groups[0]["lr"],
            seconds=round(self.seconds(), 3),
            health=shared,
            **window.row(waited, self.world.size),
        )

    def check_finite(self, stage: Stage) -> None:
        """Report the batches whose update was skipped. Raise UserError if training has diverged."""
        index, stream = self.position.stage, self.job.stream
        for step in self.divergence.skipped(self.guard):
            cases = ", ".join(stream.case_ids(index, step, stage.unlabelled))
            text = (
                f"the loss of stage {stage.name}, step {step} was not finite "
                f"and its update was skipped; its batch: {cases}"
            )
            self.record("warning", text=text)
        self.divergence.check(self.job.folder)

    def look(self, stage: Stage, ended: bool) -> None:
        """Check if the networks are ready for the next stage. ended: no step is left for it."""
        job, position, needed = self.job, self.position, stage.ready_dice
        with autocast(job.device, job.precision):
            dice = learned(job.method, last_crops(job.stream, position), self.world)
        low = lacking(dice, needed)
        self.position = replace(position, ready=not low)
        text = behind(low, needed, job.class_names)
        self.record("readiness", stage, ready=not low, needed=needed, dice=dice, text=text)
        if low and ended:
            self.record("warning", text=in_vain(stage.name, text))

    def score(self, stage: Stage) -> None:
        """Score the validation cases, if any, and keep the weights with the best score."""
        if self.job.score is None:
            return
        selection, position, score = self.job.options.selection, self.position, self.job.score()
        on = {"on": "test"} if selection == "test" else {}
        self.record("validation", stage, **on, **score)
        if score["mean"] > position.best_score:
            self.position = replace(position, best_score=score["mean"], best_step=position.step)
            if selection != "last":
                self.save_selected()
