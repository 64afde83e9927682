"""Progress of training on screen: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

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
    return f"stage {row['stage']}: {row['steps']} steps on {scans}{more}"


class TrainingProgress:
    """Display of stages, loss terms, speed, share of time waiting for data, and time left.

    silent: show nothing.
    """

    def __init__(
        self, steps: int, done: int = 0, stream: TextIO | None = None, silent: bool = False
    ) -> None:
        self.console = Console(file=stream or sys.stderr, quiet=silent)
        self.steps, self.done = steps, done
        self.started, self.first = time.monotonic(), done
        self.last_line = -PLAIN_EVERY
        self.live: Live | None = None
        if self.console.is_terminal and not silent:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self.task = self.bar.add_task("starting", total=steps, completed=done)
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

    def advance(self, total_step: int, stage: str) -> None:
        """Move the bar to ``total_step``."""
        self.done = total_step
        if self.live:
            self.bar.update(self.task, completed=total_step, description=f"{stage}, step")

    def show(self, row: dict[str, Any]) -> None:
        """Show a new row of the journal."""
        kind = row["kind"]
        if kind == "step":
            self._step(row)
        elif kind == "validation":
            self.say(f"step {row['total_step']}: {describe(row)}")
        elif kind == "warning":
            self.say(f"warning: {row['text']}")
        elif kind == "readiness" and not row["ready"]:
            self.say(f"step {row['total_step']}: stage {row['stage']} continues: {row['text']}")
        elif kind == "stage":
            self.say(_stage(row))

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _step(self, row: dict[str, Any]) -> None:
        if self.live:
            self.live.update(Group(self.bar, Text(describe(row), style="dim")))
            return
        now = time.monotonic()
        if now - self.last_line >= PLAIN_EVERY or row["total_step"] == self.steps:
            self.last_line = now
            rate = (now - self.started) / max(1, self.done - self.first)
            left = time.strftime("%H:%M:%S", time.gmtime(rate * (self.steps - self.done)))
            self.say(
                f"step {row['total_step']}/{self.steps} ({row['stage']})  "
                f"{describe(row)}  {left} left"
            )
