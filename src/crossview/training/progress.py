"""Progress of training on screen: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from crossview.core.text import count
from crossview.methods.method import Stage
from crossview.training.options import TrainingOptions
from crossview.training.pace import Pace

PLAIN_EVERY = 10.0
"""Seconds between plain lines."""


def describe(row: dict[str, Any]) -> str:
    """Return a journal row of kind "step" or "validation" as one short line."""
    if row["kind"] == "validation":
        views = ", ".join(f"{name} {100 * view['mean']:.2f}" for name, view in row["views"].items())
        picked = " (selection on test: optimistic)" if row.get("on") == "test" else ""
        return (
            f"{row.get('on', 'validation')} Dice {100 * row['mean']:.2f}"
            + (f" ({views})" if views else "")
            + picked
        )
    terms = "  ".join(f"{name} {value:.3f}" for name, value in row["terms"].items())
    waiting = f"waiting for data {row['data_wait']:.0%}"
    return f"loss {row['loss']:.3f}  {terms}  {row['samples_per_second']:.1f} samples/s  {waiting}"


def _stage(row: dict[str, Any]) -> str:
    scans = "labelled and unlabelled scans" if row["unlabelled"] else "labelled scans"
    more = (
        f", extended until each network reaches a Dice of {row['ready_dice']:g} for each class"
        if row.get("ready_dice")
        else ""
    )
    return f"stage {row['stage']}: {count(row['steps'], 'step')} on {scans}{more}"


class TrainingProgress:
    """Display of stages, loss terms, speed, share of time waiting for data, and time left.

    Args:
        stages: The stages of the run.
        options: The table [training].
        done: Steps done before this process.
        stream: The stream to write to. Default: standard error.
        silent: Show nothing.
        clock: Function that returns seconds.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        options: TrainingOptions,
        done: int = 0,
        *,
        stream: TextIO | None = None,
        silent: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = Console(file=stream or sys.stderr, quiet=silent)
        self.stages, self.steps = stages, sum(stage.steps for stage in stages)
        self.clock, self.pace = clock, Pace(stages, options, done, clock)
        self.last_line = -PLAIN_EVERY
        self.waiting = ""
        self.live: Live | None = None
        if self.console.is_terminal and not silent:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[left]}"),
            )
            self.task = self.bar.add_task("starting", total=self.steps, completed=done, left="")
            self.live = Live(self.bar, console=self.console, refresh_per_second=4)

    def __enter__(self) -> TrainingProgress:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live:
            self.live.stop()

    def advance(self, total_step: int, stage: int) -> None:
        """Move the bar to ``total_step``, a step of a stage counted from 0."""
        self.pace.advance(total_step, stage)
        if self.live:
            name, left = f"{self.stages[stage].name}, step", self.pace.left()
            self.bar.update(self.task, completed=total_step, description=name, left=left)

    def show(self, row: dict[str, Any]) -> None:
        """Show a new row of the journal."""
        kind = row["kind"]
        if kind == "step":
            self._step(row)
        elif kind == "validation":
            self.say(f"step {row['total_step']}: {describe(row)}")
        elif kind == "warning":
            self.say(f"warning: {row['text']}")
        elif kind == "readiness" and not row["ready"] and row["total_step"] < self.steps:
            self._continues(row)
        elif kind == "stage":
            self.say(_stage(row))

    def _continues(self, row: dict[str, Any]) -> None:
        """Show why a stage continues: in full at first, then how far its networks are."""
        why = row["text"]
        if self.waiting == row["stage"]:
            reached = [
                value for of_network in row["dice"].values() for value in of_network.values()
            ]
            lowest = f"{100 * min(reached):.1f} %" if reached else "not known"
            why = f"lowest Dice {lowest} of {100 * row['needed']:g} %"
        self.waiting = row["stage"]
        self.say(f"step {row['total_step']}: stage {row['stage']} continues: {why}")

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _step(self, row: dict[str, Any]) -> None:
        if self.live:
            self.live.update(Group(self.bar, Text(describe(row), style="dim")))
            return
        now = self.clock()
        if now - self.last_line >= PLAIN_EVERY or row["total_step"] == self.steps:
            self.last_line = now
            at = f"step {row['total_step']}/{self.steps} ({row['stage']})"
            self.say("  ".join(filter(None, (at, describe(row), self.pace.left()))))
