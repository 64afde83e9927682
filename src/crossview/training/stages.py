"""Lengths of stages, when one may borrow steps of the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossview.methods.method import Stage

CHECKS = 5
"""Times that a stage that waits is checked per its planned number of steps."""


@dataclass(frozen=True)
class Length:
    """The steps of a stage.

    meant: steps in the recipe minus those that the previous stage borrowed. most: meant plus the
    steps that this stage may borrow.
    """

    meant: int
    most: int

    @property
    def waits(self) -> bool:
        return self.most > self.meant

    def may_end(self, done: int) -> bool:
        """True if the stage can end after ``done`` of its steps."""
        late = done - self.meant
        return done == self.most or (late >= 0 and late % max(1, self.meant // CHECKS) == 0)


def length(stages: Sequence[Stage], index: int, begun: int) -> Length:
    """Return the length of a stage that began after ``begun`` steps of the run.

    The run is as long as all stages together, whichever of them uses the steps.
    """
    meant = max(0, sum(stage.steps for stage in stages[: index + 1]) - begun)
    waits = stages[index].ready_dice > 0 and index + 1 < len(stages)
    return Length(meant, meant + stages[index + 1].steps if waits else meant)
