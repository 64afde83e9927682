"""SGD that a non-finite loss can't reach, without waiting for the device to say whether it is one.

Steps whose loss was not finite: told with their batches, and the end of a run that has nothing else left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from crossview.core.errors import Problem, UserError
from crossview.training.options import TrainingOptions


def learning_rate(options: TrainingOptions, total_step: int, steps: int) -> float:
    """The learning rate of the step after ``total_step`` steps, in a run of ``steps`` in all.

    constant: base. step: base * factor^(t // every). polynomial: base * (1 - t/T)^power; t counts from ``decay_after``.
    """
    t = max(0, total_step - options.decay_after)
    if options.schedule == "step":
        return float(options.learning_rate * options.decay_factor ** (t // options.decay_every))
    if options.schedule == "polynomial":
        return float(
            options.learning_rate
            * max(0.0, 1 - t / max(1, steps - options.decay_after)) ** options.decay_power
        )
    return options.learning_rate


def make_optimiser(parameters: Iterable[nn.Parameter], options: TrainingOptions) -> torch.optim.SGD:
    """Fused SGD over the parameters that are trained.

    The momentum buffers are made here, as zeros: the fused kernel leaves a buffer that it makes itself uninitialised when
    the very first step is skipped (seen in torch 2.13), and zeros give the same first step.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    optimiser = torch.optim.SGD(
        trained,
        lr=options.learning_rate,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        fused=True,
    )
    for parameter in trained if options.momentum else ():
        optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser


class Guard:
    """Skips the update of a step whose loss or gradient is not finite, and keeps such a step out of the batch-norm statistics.

    The verdict stays on the device; ``bad_steps`` reads the verdicts of the steps since it was last called.
    """

    def __init__(self, method: nn.Module, optimiser: torch.optim.SGD) -> None:
        self.optimiser = optimiser
        # In the order in which they lie in memory: channels-last ones too.
        self.buffers = [
            buffer.as_strided((buffer.numel(),), (1,))
            for buffer in method.buffers()
            if buffer.is_floating_point()
        ]
        self.verdicts: list[tuple[int, Tensor]] = []
        self.before = self._statistics()

    def open(self) -> None:
        """Before a step's forward passes: remember the running statistics."""
        self.before = self._statistics()

    def _statistics(self) -> Tensor:
        """All running statistics as one tensor: on a GPU hundreds of small copies would cost more than the step's arithmetic on them."""
        return torch.cat(self.buffers) if self.buffers else torch.empty(0)

    def step(self, number: int, losses: Sequence[Tensor]) -> None:
        """The optimiser's step, or none. ``number`` names the step in ``bad_steps``."""
        gradients = [
            p.grad
            for group in self.optimiser.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        norms = torch.stack(
            [
                *torch._foreach_norm(gradients),
                *(loss.detach().to(gradients[0].dtype) for loss in losses),
            ]
        )
        bad = ~torch.isfinite(norms.sum())
        self.optimiser.found_inf = bad.float()  # type: ignore[attr-defined]
        self.optimiser.step()
        if self.buffers:
            kept = torch.split(
                torch.where(bad, self.before, self._statistics()),
                [buffer.numel() for buffer in self.buffers],
            )
            torch._foreach_copy_(self.buffers, kept)
        self.verdicts.append((number, bad))

    def bad_steps(self) -> list[int]:
        """The numbers of the steps skipped since the last call. Waits for the device."""
        if not self.verdicts:
            return []
        flags = torch.stack([bad for _, bad in self.verdicts]).tolist()
        numbers = [number for (number, _), bad in zip(self.verdicts, flags, strict=True) if bad]
        self.verdicts.clear()
        return numbers


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
