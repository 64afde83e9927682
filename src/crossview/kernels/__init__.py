"""Use of crossview's own CUDA kernels, and their check on the present device before first use.

Launching one costs the host more than launching one of torch's, so they are used only inside CUDA
graphs (:mod:`crossview.training.graphs`), where a launch is free. Elsewhere the device would spend
the time they save waiting for the host.
"""

from __future__ import annotations

from collections.abc import Iterator
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


def wanted(tensor: Tensor) -> bool:
    """True if crossview's own kernels should be used for this tensor, where they fit.

    That is on CUDA, within :func:`own_kernels`, and not while compiling.
    """
    return tensor.is_cuda and not torch.compiler.is_compiling() and _used.get()


@cache
def load() -> ModuleType | None:
    """Return the kernels and their checks, :mod:`crossview.kernels.check`, or None without Triton.

    torch installs Triton for CUDA on Linux, not everywhere.
    """
    try:
        return import_module("crossview.kernels.check")
    except ImportError:
        return None
