"""The learning rate's schedule, and SGD that skips steps with a non-finite loss.

Skipping does not wait for the device.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import unwrap
from pathlib import Path

import torch
from torch import Tensor, nn

from crossview.core.errors import fail
from crossview.training.options import TrainingOptions


def learning_rate(options: TrainingOptions, total_step: int, steps: int) -> float:
    """Return the learning rate of the step after ``total_step`` steps, in a run of ``steps`` steps.

    constant: base. step: base * factor^(t // every). polynomial: base * (1 - t/T)^power. t counts
    from ``decay_after``.
    """
    t = max(0, total_step - options.decay_after)
    if options.schedule == "step":
        return float(options.learning_rate * options.decay_factor ** (t // options.decay_every))
    if options.schedule == "polynomial":
        left = max(0.0, 1 - t / max(1, steps - options.decay_after))
        return float(options.learning_rate * left**options.decay_power)
    return options.learning_rate


def make_optimiser(parameters: Iterable[nn.Parameter], options: TrainingOptions) -> torch.optim.SGD:
    """Return fused SGD over the trainable parameters.

    The momentum buffers are created here as zeros: the fused kernel leaves a buffer that it creates
    itself uninitialised if the very first step is skipped (seen in torch 2.13), and zeros give the
    same first step.
    """
    _spare_the_compiler()
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


def _spare_the_compiler() -> None:
    """Keep the optimiser's functions from importing torch's compiler, which takes two seconds.

    At their first call they would look there for a version that is not compiled; nothing here is
    compiled, so each is that version itself.
    """
    for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        plain = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if plain is not None and not hasattr(plain, LAZY):
            setattr(plain, LAZY, plain)


LAZY = "__dynamo_disable"
"""Attribute in which torch 2.6 and later keep that version; where it is not read, nothing changes.
"""


_PLAIN_STEP = unwrap(torch.optim.SGD.step)
"""The step without what torch puts around it, which imports its compiler too."""


class Guard:
    """Guard against a loss or gradient that is not finite.

    Such a step changes neither the weights nor the batch-norm statistics. The verdict stays on the
    device; ``bad_steps`` reads the verdicts since its last call.
    """

    def __init__(self, method: nn.Module, optimiser: torch.optim.SGD) -> None:
        self.optimiser = optimiser
        # Views in memory order, so that channels-last buffers are flat too.
        self.buffers = [
            buffer.as_strided((buffer.numel(),), (1,))
            for buffer in method.buffers()
            if buffer.is_floating_point()
        ]
        self.verdicts: list[tuple[int, Tensor]] = []
        self.before = self._statistics()

    def open(self) -> None:
        """Store the running statistics. Call before a step's forward passes."""
        self.before = self._statistics()

    def _statistics(self) -> Tensor:
        """Return all running statistics as one tensor.

        On a GPU hundreds of small copies would cost more than the step's arithmetic on them.
        """
        return torch.cat(self.buffers) if self.buffers else torch.empty(0)

    def step(self, number: int, losses: Sequence[Tensor]) -> None:
        """Do the optimiser's step, or skip it. ``number`` is the step's name in ``bad_steps``."""
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
        with torch.no_grad():
            _PLAIN_STEP(self.optimiser)
        if self.buffers:
            kept = torch.split(
                torch.where(bad, self.before, self._statistics()),
                [buffer.numel() for buffer in self.buffers],
            )
            torch._foreach_copy_(self.buffers, kept)
        self.verdicts.append((number, bad))

    def bad_steps(self) -> list[int]:
        """Return the numbers of the steps skipped since the last call. Waits for the device."""
        if not self.verdicts:
            return []
        flags = torch.stack([bad for _, bad in self.verdicts]).tolist()
        numbers = [number for (number, _), bad in zip(self.verdicts, flags, strict=True) if bad]
        self.verdicts.clear()
        return numbers


DIVERGED_AFTER = 50
"""Steps in a row without a finite loss that end the run: the weights no longer change."""


class Divergence:
    """Count of the steps in a row that were skipped, which ends the run if it grows."""

    def __init__(self) -> None:
        self.bad_in_a_row = 0

    def skipped(self, guard: Guard) -> list[int]:
        """Return the numbers of the steps skipped since the last call. Waits for the device."""
        window = len(guard.verdicts)
        bad = guard.bad_steps()
        self.bad_in_a_row = self.bad_in_a_row + window if len(bad) == window else 0
        return bad

    def check(self, run: Path) -> None:
        """Raise UserError if the last ``DIVERGED_AFTER`` steps or more were all skipped."""
        if self.bad_in_a_row >= DIVERGED_AFTER:
            fail(
                "training has diverged",
                run,
                found=f"no finite loss in the last {self.bad_in_a_row} steps",
                fix="lower training.learning_rate, or set training.precision=float32",
            )
