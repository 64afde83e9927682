"""How long stages are, where one may take steps of the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossview.methods.method import Stage

CHECKS = 5
"""A stage that waits may end so many times in as many steps as it was meant to have."""


@dataclass(frozen=True)
class Length:
    """The steps of a stage. meant: those of the recipe, less what the stage before took of them. most: with all that it may take."""

    meant: int
    most: int

    @property
    def waits(self) -> bool:
        return self.most > self.meant

    def may_end(self, done: int) -> bool:
        """Whether the stage can end after ``done`` of its steps."""
        late = done - self.meant
        return done == self.most or (late >= 0 and late % max(1, self.meant // CHECKS) == 0)


def length(stages: Sequence[Stage], index: int, begun: int) -> Length:
    """Of a stage that began after ``begun`` steps in all. The run is as long as all stages together, whichever takes them."""
    meant = max(0, sum(stage.steps for stage in stages[: index + 1]) - begun)
    waits = stages[index].ready_dice > 0 and index + 1 < len(stages)
    return Length(meant, meant + stages[index + 1].steps if waits else meant)
