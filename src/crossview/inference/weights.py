"""Weights of a window's voxels in the mean over windows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SIGMA = 1 / 8
"""Standard deviation of Gaussian weights, as a share of the window's side."""


def gaussian(side: int) -> Tensor:
    """Return the weights of a window along one axis: 1 in the centre, 0.0003 at the ends."""
    places = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    return torch.exp(-0.5 * (places / (SIGMA * side)).square())


def total_weight(side: int, starts: Sequence[int], weight: Tensor) -> Tensor:
    """Return the sum of the windows' weights along one axis."""
    total = torch.zeros(side)
    for start in starts:
        total[start : start + len(weight)] += weight
    return total


def product(axes: Sequence[Tensor]) -> Tensor:
    """Return the outer product of one vector per axis."""
    result = torch.ones((), device=axes[0].device)
    for axis in axes:
        result = result.unsqueeze(-1) * axis
    return result
