"""Time that the rest of a run takes, from the pace of each of its stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crossview.core.text import duration
from crossview.methods.method import Stage
from crossview.training.options import TrainingOptions


class Pace:
    """Pace of the stages that have trained in this process, and what it promises for the others.

    A stage that has not begun is taken to need as long per image as the current one. That is the
    least: its images may also be mixed, pseudo-labelled or passed through a teacher.

    Args:
        stages: The stages of the run.
        options: The table [training], which has the images per step.
        done: Steps done before this process.
        clock: Function that returns seconds.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        options: TrainingOptions,
        done: int,
        clock: Callable[[], float],
    ) -> None:
        self.steps = [stage.steps for stage in stages]
        self.images = [
            options.labelled_batch + stage.unlabelled * options.unlabelled_batch for stage in stages
        ]
        self.clock = clock
        self.stage, self.begun_at, self.begun = -1, clock(), done
        self.now, self.done = self.begun_at, done

    def advance(self, total_step: int, stage: int) -> None:
        """Note that a step of a stage, counted from 0, is done."""
        if stage != self.stage:
            self.stage, self.begun_at, self.begun = stage, self.now, self.done
        self.now, self.done = self.clock(), total_step

    def left(self) -> str:
        """Return the time left in words, "" before the first step.

        It begins with "at least" while it holds a guess for a stage that has not begun.
        """
        if self.done == self.begun:
            return ""
        of_step = (self.now - self.begun_at) / (self.done - self.begun)
        rest = sum(self.steps) - self.done
        own = max(0, sum(self.steps[: self.stage + 1]) - self.done)
        seconds, rest = of_step * own, rest - own
        guessed = rest > 0
        of_image = of_step / self.images[self.stage]
        for steps, images in zip(
            self.steps[self.stage + 1 :], self.images[self.stage + 1 :], strict=True
        ):
            # A stage that went on beyond its steps took them from the next one.
            taken = min(steps, rest)
            seconds, rest = seconds + of_image * images * taken, rest - taken
        return f"{'at least ' if guessed else ''}{duration(seconds)} left"
