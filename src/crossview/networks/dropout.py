"""Dropout: its draws on a CPU, and the generator that they come from.

Passes that run at the same time in several threads would take turns at torch's own generator in an
order that nothing fixes. Each thread therefore draws from a generator of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor


class _Thread(threading.local):
    """The state of one thread. generator: None for torch's own."""

    generator: torch.Generator | None = None


_thread = _Thread()


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Draw dropout in this thread from ``generator`` (on the CPU) instead of torch's own."""
    before, _thread.generator = _thread.generator, generator
    try:
        yield
    finally:
        _thread.generator = before


def dropout(features: Tensor, probability: float, training: bool) -> Tensor:
    """Set features to zero with ``probability``, scale the others by 1 / (1 - probability).

    Outside of training, features are returned as they are. On the CPU torch draws numbers one by
    one, which takes a sixth of an ACDC step. Here 16 bits decide, so each draw serves four
    features, and the probability (and with it the scale) is rounded to 1/65,536.
    """
    zeros = round(probability * 2**16)
    if not training or not features.is_cpu or not 0 < zeros < 2**16:
        return F.dropout(features, probability, training)
    if not _is_dense(features):
        return _dropped(features, torch.empty_like(features), probability)
    draws = torch.empty((features.numel() + 3) // 4, dtype=torch.int64)
    draws.random_(-(2**63), None, generator=_thread.generator)
    kept = draws.view(torch.int16)[: features.numel()] >= zeros - 2**15
    factor = kept.to(features.dtype).mul_(2**16 / (2**16 - zeros))
    return features * factor.as_strided(features.shape, features.stride())


def channel_dropout(features: Tensor, probability: float, training: bool) -> Tensor:
    """Set whole channels of features (B, C, X, Y, Z) to zero with ``probability``; scale others."""
    if not training or not features.is_cpu or not probability:
        return F.dropout3d(features, probability, training)
    factor = features.new_empty((*features.shape[:2], 1, 1, 1))
    return _dropped(features, factor, probability)


def _dropped(features: Tensor, factor: Tensor, probability: float) -> Tensor:
    """Return features times ``factor``, filled as torch fills it in its own dropout."""
    factor.bernoulli_(1 - probability, generator=_thread.generator).div_(1 - probability)
    return features * factor


def _is_dense(tensor: Tensor) -> bool:
    """True if the elements have no gaps or overlaps in memory, in any order."""
    return torch.empty_like(tensor, device="meta").stride() == tensor.stride()
