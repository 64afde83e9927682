"""Kernels of our own for CUDA: where they are used, and that they are tried on the device at hand before they are trusted.

To start one takes the host longer than to start one of torch's. So they are for passes that are recorded as CUDA graphs
(:mod:`crossview.training.recording`), where starting costs nothing; elsewhere they would save the device time that it then waits.
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
    """In here our own kernels are used where they fit; or not, as everywhere else."""
    before = _used.set(used)
    try:
        yield
    finally:
        _used.reset(before)


@cache
def load(module: str) -> ModuleType | None:
    """A module of kernels; None where there is no Triton, which torch brings along for CUDA on Linux, not everywhere."""
    try:
        return import_module(module)
    except ImportError:
        return None


def wanted(tensor: Tensor) -> bool:
    """Whether our own kernels are to be used for this tensor, if they fit: on CUDA, within :func:`own_kernels`, not while compiling."""
    return tensor.is_cuda and not torch.compiler.is_compiling() and _used.get()


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
