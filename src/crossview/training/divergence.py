"""Steps whose loss was not finite: told with their batches, and the end of a run that has nothing else left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from crossview.errors import Problem, UserError
from crossview.training.optimiser import Guard

DIVERGED_AFTER = 50
"""So many steps in a row without a finite loss end the run: the weights no longer move."""


class Divergence:
    """Counts the steps in a row that were skipped."""

    def __init__(self) -> None:
        self.bad_in_a_row = 0

    def told(self, guard: Guard, stage: str, cases: Callable[[int], Sequence[str]]) -> list[str]:
        """A sentence for each step skipped since the last call. cases: those of a step's batch. Waits for the device."""
        window = len(guard.verdicts)
        bad = guard.bad_steps()
        self.bad_in_a_row = self.bad_in_a_row + window if len(bad) == window else 0
        return [
            f"the loss of stage {stage}, step {step} was not finite and its update was skipped; its batch: {', '.join(cases(step))}"
            for step in bad
        ]

    def check(self, run: Path) -> None:
        """Raises UserError where the run in this folder has nothing but such steps left."""
        if self.bad_in_a_row >= DIVERGED_AFTER:
            found = f"no finite loss in the last {self.bad_in_a_row} steps"
            fix = "a lower training.learning_rate, or training.precision=float32"
            raise UserError(Problem("training has diverged", where=str(run), found=found, fix=fix))
