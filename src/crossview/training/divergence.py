"""Steps with a loss that is not finite: a warning per step, and an error if they do not end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from crossview.errors import Problem, UserError
from crossview.training.optimiser import Guard

DIVERGED_AFTER = 50
"""Steps in a row without a finite loss that end the run: the weights no longer change."""


class Divergence:
    """Count of the steps in a row that were skipped."""

    def __init__(self) -> None:
        self.bad_in_a_row = 0

    def told(self, guard: Guard, stage: str, cases: Callable[[int], Sequence[str]]) -> list[str]:
        """Return a sentence per step skipped since the last call. Waits for the device.

        cases: returns the case ids of a step's batch.
        """
        window = len(guard.verdicts)
        bad = guard.bad_steps()
        self.bad_in_a_row = self.bad_in_a_row + window if len(bad) == window else 0
        return [
            f"the loss of stage {stage}, step {step} was not finite and its update was skipped; "
            f"its batch: {', '.join(cases(step))}"
            for step in bad
        ]

    def check(self, run: Path) -> None:
        """Raise UserError if the last ``DIVERGED_AFTER`` steps or more were all skipped."""
        if self.bad_in_a_row >= DIVERGED_AFTER:
            found = f"no finite loss in the last {self.bad_in_a_row} steps"
            fix = "lower training.learning_rate, or set training.precision=float32"
            raise UserError(Problem("training has diverged", where=str(run), found=found, fix=fix))
