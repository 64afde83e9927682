"""The training loop: restore, then the steps of each stage, then the end.

Step k depends only on (seed, stage, k), the weights and the optimiser. A run that was stopped at
any step therefore resumes exactly as if it had not been stopped.

Losses, time and samples between two rows of the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from crossview.core.errors import Problem, UserError
from crossview.core.processes import stop_signals
from crossview.core.rng import Randomness
from crossview.core.run_folder import Journal, read_journal
from crossview.core.tensors import Batch
from crossview.data.prefetch import Prefetcher, Request
from crossview.methods.method import Stage
from crossview.training import checkpoint
from crossview.training.checkpoint import Position
from crossview.training.device import autocast, networks_of
from crossview.training.graphs import Recordings
from crossview.training.job import Job, Outcome
from crossview.training.optimiser import Divergence, Guard, learning_rate, make_optimiser
from crossview.training.progress import TrainingProgress
from crossview.training.stages import Length, in_vain, lacking, last_crops, learned, length, told
from crossview.training.step import backpropagate


class Training:
    """The state of a run while it trains: position, optimiser, guard, clocks."""

    def __init__(self, job: Job, progress: TrainingProgress) -> None:
        self.job, self.progress, self.world = job, progress, job.world
        self.journal = Journal(job.folder / "journal.jsonl", writes=self.world.first)
        self.stages = job.method.stages
        self.steps = sum(stage.steps for stage in self.stages)
        self.position = Position()
        self.begun = time.monotonic()
        self.saved = time.monotonic()
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

    # -- checkpoints -------------------------------------------------------------------------

    def save(self) -> None:
        if not self.world.first:
            return
        position = replace(self.position, seconds=self.seconds())
        state = checkpoint.training_state(
            self.job.method, self.optimiser, position, self.job.recipe
        )
        checkpoint.write(self.job.last, state)
        self.saved = time.monotonic()

    def save_selected(self) -> None:
        """Write last.pt, then selected.pt; after a kill between them, ``restore`` writes it."""
        self.save()
        checkpoint.write(self.job.selected, checkpoint.read(self.job.last))

    def restore(self) -> None:
        state = checkpoint.read(self.job.last)
        checkpoint.load_weights(self.job.method, state, self.job.last, self.job.recipe)
        self._new_optimiser(state["optimiser"])
        self.position = Position(**state["position"])
        self.begun = time.monotonic()
        self.journal.cut_after(self.position.total_step)
        self.journal.append("resumed", total_step=self.position.total_step, **self.job.resumed_with)
        for text in self.job.warnings:
            self.progress.show(
                self.journal.append("warning", total_step=self.position.total_step, text=text)
            )
        if (
            self.world.first
            and self.job.options.selection != "last"
            and self.position.best_step == self.position.step
        ):
            checkpoint.write(self.job.selected, state)

    # -- one stage ---------------------------------------------------------------------------

    def start_stage(self, index: int, stage: Stage) -> None:
        # Networks that the stage waited for keep their weights: an earlier checkpoint may be from
        # before they had learned.
        from_selected = (
            stage.from_selected and self.job.options.selection != "last" and not self.position.ready
        )
        selected = from_selected and self.job.selected.exists()
        state = checkpoint.read(self.job.selected) if selected else None
        if state is not None:
            self.job.method.load_state_dict(state["weights"])
        if not stage.keep_optimiser:
            self._new_optimiser()
        elif state is not None:
            self._new_optimiser(state["optimiser"])
        self.position = replace(
            self.position, stage=index, step=0, best_score=float("-inf"), best_step=-1, ready=False
        )
        self.job.method.begin(stage)
        self.recordings.forget()
        self.optimiser.zero_grad(set_to_none=True)
        row = self.journal.append(
            "stage",
            stage=stage.name,
            index=index,
            steps=self.length(index).meant,
            unlabelled=stage.unlabelled,
            ready_dice=stage.ready_dice if self.length(index).waits else 0.0,
            total_step=self.position.total_step,
        )
        self.progress.show(row)

    def length(self, index: int) -> Length:
        """Return the length of a stage that is running or about to start."""
        return length(
            self.stages,
            index,
            self.position.total_step - (self.position.step if index == self.position.stage else 0),
        )

    def run_stage(self, stage: Stage, stop: Callable[[], bool]) -> None:
        """Do the steps of a stage from the position on, until it ends or ``stop`` is true."""
        window = Window()
        index, first = self.position.stage, self.position.step
        length = self.length(index)
        requests = (Request(index, step, stage.unlabelled) for step in range(first, length.most))
        with Prefetcher(self.job.stream, requests, workers=self.job.options.workers) as batches:
            self.recordings.wait_by(batches.rest)
            for step in range(first, length.most):
                if self.position.ready:
                    return
                if stop():
                    self.check_finite(stage)
                    return
                waited = batches.waited
                may_end = length.may_end(step + 1)
                batch = self._marked(next(batches), may_end, step)
                terms = self.step(batch, stage, step)
                samples = len(batch.image) + (
                    0 if batch.unlabelled is None else len(batch.unlabelled)
                )
                window.add(terms, samples * self.world.size, batches.waited - waited)
                self.position = replace(
                    self.position, step=step + 1, total_step=self.position.total_step + 1
                )
                self.progress.advance(self.position.total_step, stage.name)
                if batch.watch:
                    self.log(stage, window)
                    window = Window()
                if batch.show and self.job.draw is not None:
                    self.job.draw(batch, self.job.method.show, self._picture(stage, step))
                self.job.method.show.clear()
                if may_end and length.waits:
                    self.look(stage, ended=step + 1 == length.most)
                self.after(
                    stage, last=step + 1 in (length.meant, length.most) or self.position.ready
                )

    def look(self, stage: Stage, ended: bool) -> None:
        """Check if the networks are ready for the next stage. ended: no step is left for it."""
        job, position = self.job, self.position
        with autocast(job.device, job.precision):
            dice = learned(job.method, last_crops(job.stream, position), self.world)
        low = lacking(dice, stage.ready_dice)
        self.position = replace(position, ready=not low)
        at = {"stage": stage.name, "step": position.step, "total_step": position.total_step}
        behind = told(low, stage.ready_dice, job.class_names)
        self.progress.show(
            self.journal.append(
                "readiness", **at, ready=not low, needed=stage.ready_dice, dice=dice, text=behind
            )
        )
        if low and ended:
            self.progress.show(
                self.journal.append(
                    "warning", total_step=position.total_step, text=in_vain(stage.name, behind)
                )
            )

    def _marked(self, batch: Batch, last: bool, step: int) -> Batch:
        done = self.position.total_step + 1
        watch = done % self.job.options.log_every == 0 or last
        return replace(
            batch,
            watch=watch,
            show=self.job.draw is not None and step % self.job.options.picture_every == 0,
        )

    def _picture(self, stage: Stage, step: int) -> Path:
        return (
            self.job.folder
            / "pictures"
            / f"{self.position.stage + 1:02d}-{stage.name}-step-{step:06d}.png"
        )

    def step(self, batch: Batch, stage: Stage, step: int) -> dict[str, Tensor]:
        """Do one optimiser step and return the loss terms, on the device."""
        method, job = self.job.method, self.job
        method.train()
        self.recordings.begin()
        torch.manual_seed(
            Randomness(job.options.seed, self.position.stage, step).number(
                "dropout", self.world.rank
            )
        )
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(job.options, self.position.total_step, self.steps)
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

    def log(self, stage: Stage, window: Window) -> None:
        self.check_finite(stage)
        health = self.world.mean(
            {name: value.item() for name, value in self.job.method.health.items()}
        )
        self.job.method.health.clear()
        row = self.journal.append(
            "step",
            stage=stage.name,
            step=self.position.step,
            total_step=self.position.total_step,
            learning_rate=self.optimiser.param_groups[0]["lr"],
            seconds=round(self.seconds(), 3),
            health=health,
            **window.row(),
        )
        self.progress.show(row)

    def check_finite(self, stage: Stage) -> None:
        """Report the batches whose update was skipped. Raise UserError if training has diverged."""
        at, stream = self.position, self.job.stream
        for text in self.divergence.told(
            self.guard, stage.name, lambda step: stream.case_ids(at.stage, step, stage.unlabelled)
        ):
            self.progress.show(self.journal.append("warning", total_step=at.total_step, text=text))
        self.divergence.check(self.job.folder)

    def after(self, stage: Stage, last: bool) -> None:
        """Score and save if they are due. last: the stage may end here."""
        position, options = self.position, self.job.options
        due = position.step % options.evaluate_every == 0 or last
        if due and self.job.score is not None:
            score = self.job.score()
            on = {"on": "test"} if options.selection == "test" else {}
            row = self.journal.append(
                "validation",
                stage=stage.name,
                step=position.step,
                total_step=position.total_step,
                **on,
                **score,
            )
            self.progress.show(row)
            if score["mean"] > position.best_score:
                self.position = replace(position, best_score=score["mean"], best_step=position.step)
                if options.selection != "last":
                    self.save_selected()
        if time.monotonic() - self.saved >= options.checkpoint_every:
            self.save()


def train(job: Job, *, resume: bool, max_steps: int | None = None) -> Outcome:
    """Train ``job`` to its end, to ``max_steps`` steps of the run, or to a signal, and save.

    Raises UserError if training diverges or the checkpoint cannot be read.
    """
    last = position_of(job.last) if resume and job.last.exists() else Position()
    if (
        resume and not job.last.exists() and any(read_journal(job.folder / "journal.jsonl"))
    ):  # a checkpoint is written before the first row
        raise UserError(
            Problem(
                "the run's checkpoint is missing",
                str(job.last),
                fix="restore it, or train again with --overwrite",
            )
        )
    job.world.agree("the checkpoint to resume from", f"step {last.total_step}")
    steps, world = sum(stage.steps for stage in job.method.stages), job.world
    with (
        TrainingProgress(steps, last.total_step, silent=not world.first) as progress,
        stop_signals(once=world.several) as caught,
    ):
        training = Training(job, progress)
        if resume and job.last.exists():
            training.restore()
        else:
            training.save()  # from here on the run can be resumed
        signal = 0

        def stop() -> bool:
            nonlocal signal
            signal = signal or world.signal(caught)
            return bool(signal) or (
                max_steps is not None and training.position.total_step >= max_steps
            )

        try:
            for index, stage in enumerate(training.stages):
                if (
                    index < training.position.stage
                    or training.position.total_step == training.steps
                ):
                    continue
                if stop():
                    break
                if index > training.position.stage or training.position.step == 0:
                    training.start_stage(index, stage)
                training.run_stage(stage, stop)
        finally:
            training.recordings.close()
        training.save()
        finished = training.position.total_step == training.steps
        if finished:
            training.journal.append(
                "finished", total_step=training.steps, seconds=round(training.seconds(), 3)
            )
        else:
            training.journal.append("stopped", total_step=training.position.total_step)
        how: Literal["finished", "paused", "interrupted"] = (
            "finished" if finished else "interrupted" if signal else "paused"
        )
        return Outcome(how, training.position.total_step, signal=signal)


def position_of(path: Path) -> Position:
    """Return the position of a checkpoint."""
    return Position(**checkpoint.read(path)["position"])


@dataclass
class Window:
    """Sums since the last row. The losses stay on the device until ``row`` is called."""

    since: float = field(default_factory=time.monotonic)
    waited: float = 0.0
    steps: int = 0
    samples: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)

    def add(self, terms: Mapping[str, Tensor], samples: int, waited: float) -> None:
        self.steps, self.samples, self.waited = (
            self.steps + 1,
            self.samples + samples,
            self.waited + waited,
        )
        for name, value in terms.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def row(self) -> dict[str, Any]:
        terms = {name: value.item() / self.steps for name, value in self.sums.items()}
        seconds = max(1e-9, time.monotonic() - self.since)
        return {
            "loss": sum(terms.values()),
            "terms": terms,
            "samples_per_second": self.samples / seconds,
            "data_wait": min(1.0, self.waited / seconds),
        }
