"""Use of crossview's own CUDA kernels, and their check on the present device before first use.

Launching one costs the host more than launching one of torch's, so they are used only inside CUDA
graphs (:mod:`crossview.training.recording`), where a launch is free. Elsewhere the device would
spend the time they save waiting for the host.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

_used = ContextVar("_used", default=False)


@contextmanager
def own_kernels(used: bool = True) -> Iterator[None]:
    """Use crossview's own kernels in this context where they fit; with False, do not use them."""
    before = _used.set(used)
    try:
        yield
    finally:
        _used.reset(before)


@cache
def load(module: str) -> ModuleType | None:
    """Return a module of kernels, or None without Triton.

    torch installs Triton for CUDA on Linux, not everywhere.
    """
    try:
        return import_module(module)
    except ImportError:
        return None


def wanted(tensor: Tensor) -> bool:
    """True if crossview's own kernels should be used for this tensor, where they fit.

    That is on CUDA, within :func:`own_kernels`, and not while compiling.
    """
    return tensor.is_cuda and not torch.compiler.is_compiling() and _used.get()


def works(what: str, check: Callable[[torch.device], None], device: torch.device) -> bool:
    """True if ``check`` passes on ``device``.

    If not, warn that torch's own ``what`` is used, and why. The check has its own random numbers.
    The caller's autocast and gradient mode do not affect it.
    """
    alone = torch.random.fork_rng([device] if device.type == "cuda" else [])
    try:
        with alone, torch.enable_grad(), torch.autocast(device.type, enabled=False):
            torch.manual_seed(0)
            check(device)
    except Exception as error:  # a missing or broken compiler can fail in any way
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        warnings.warn(f"torch's own {what} used on {device}: {first_line}", stacklevel=2)
        return False
    return True


def agree(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Raise AssertionError if a difference exceeds ``tolerance`` x the largest expected value."""
    difference = float((found.detach().double() - expected.detach()).abs().max())
    if not difference <= tolerance * max(float(expected.detach().abs().max()), 1e-6):
        raise AssertionError(f"a kernel of crossview is {difference:.2g} off")
