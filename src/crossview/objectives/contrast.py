"""Features near those of their own class: SS-Net's memory and distance (Wu et al., MICCAI 2022; ycwu1997/SS-Net@c0a8bf6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ClassMemory(nn.Module):
    """A few features of each foreground class, 1 to classes - 1, in buffers of a fixed size: a checkpoint holds them.

    The counts are floating so that what keeps a step without a finite loss out of the floating buffers covers them.
    """

    features: Tensor
    count: Tensor

    def __init__(self, classes: int, capacity: int, width: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(classes - 1, capacity, width))
        self.register_buffer("count", torch.zeros(classes - 1))

    def of(self, index: int) -> Tensor:
        """The features (n, width) of class ``index``; n = 0 until there are some."""
        return self.features[index - 1, : int(self.count[index - 1])]

    def store(self, index: int, features: Tensor) -> None:
        """Put at most ``capacity`` features (n, width) in the place of those of class ``index``; none leave those there are."""
        if len(features):
            self.features[index - 1, : len(features)] = features
            self.count[index - 1] = len(features)

    def fill(self) -> Tensor:
        """The share of places that are taken, a scalar."""
        return self.count.mean() / self.features.shape[1]


def weighted_distance(
    features: Tensor, memory: Tensor, scores: Tensor, memory_scores: Tensor
) -> Tensor:
    """mean_ij a_i b_j (1 - cos(f_i, m_j)), a_i = N s_i / sum s, b_j = M t_j / sum t.

    features f: (N, D). memory m: (M, D). scores s (N,), memory_scores t (M,): above 0. As a and b have the mean 1, this is
    1 - <mean_i a_i f_i/|f_i|, mean_j b_j m_j/|m_j|>: no N x M matrix.
    """
    return 1 - (_mean_direction(features, scores) * _mean_direction(memory, memory_scores)).sum()


def _mean_direction(vectors: Tensor, scores: Tensor) -> Tensor:
    """sum_i s_i v_i/|v_i| / sum_i s_i, (D,), in float32 at least."""
    vectors, scores = (
        tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in (vectors, scores)
    )
    return (F.normalize(vectors, dim=1, eps=1e-6) * (scores / scores.sum()).unsqueeze(1)).sum(0)
