"""Kernels of our own for CUDA are tried on the device at hand before they are trusted, and done without where they fail."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor


def works(what: str, check: Callable[[torch.device], None], device: torch.device) -> bool:
    """Whether ``check`` passes on ``device``; if not, a warning says that torch's own ``what`` is used, and why.

    Its random numbers are its own, and autocast and whatever is recorded around it do not concern it.
    """
    alone = torch.random.fork_rng([device] if device.type == "cuda" else [])
    try:
        with alone, torch.enable_grad(), torch.autocast(device.type, enabled=False):
            torch.manual_seed(0)
            check(device)
    except Exception as error:  # a compiler that is missing or broken can fail in any way
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        warnings.warn(f"torch's own {what} used on {device}: {first_line}", stacklevel=2)
        return False
    return True


def agree(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Raises AssertionError where two tensors differ by more than ``tolerance`` of the second's largest value."""
    difference = float((found.detach().double() - expected.detach()).abs().max())
    if not difference <= tolerance * max(float(expected.detach().abs().max()), 1e-6):
        raise AssertionError(f"a kernel of crossview is {difference:.2g} off")
