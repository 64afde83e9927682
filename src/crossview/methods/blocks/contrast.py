"""Class memory and feature distance of SS-Net (Wu et al., MICCAI 2022; ycwu1997/SS-Net@c0a8bf6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossview.methods.blocks.losses import at_least_float32


class ClassMemory(nn.Module):
    """Memory of a few features per foreground class, in buffers that checkpoints contain.

    The counts are floating, because only floating buffers are protected from a step without a
    finite loss.

    Args:
        classes: Number of classes, background included; classes 1 to classes - 1 have a memory.
        capacity: Largest number of features per class.
        width: Length of a feature.
    """

    features: Tensor
    count: Tensor

    def __init__(self, classes: int, capacity: int, width: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(classes - 1, capacity, width))
        self.register_buffer("count", torch.zeros(classes - 1))

    def of(self, index: int) -> Tensor:
        """Return the stored features (n, width) of class ``index``; n = 0 before the first."""
        return self.features[index - 1, : int(self.count[index - 1])]

    def store(self, index: int, features: Tensor) -> None:
        """Replace the stored features of class ``index``, unless there are no new ones.

        Args:
            index: Foreground class, from 1.
            features: New features (n, width), n at most ``capacity``.
        """
        if len(features):
            self.features[index - 1, : len(features)] = features
            self.count[index - 1] = len(features)

    def fill(self) -> Tensor:
        """Return the share of the memory that is filled, a scalar tensor."""
        return self.count.mean() / self.features.shape[1]


def weighted_distance(
    features: Tensor, memory: Tensor, scores: Tensor, memory_scores: Tensor
) -> Tensor:
    """Return mean_ij a_i b_j (1 - cos(f_i, m_j)), a_i = N s_i / sum s, b_j = M t_j / sum t.

    As a and b have mean 1, this is 1 - <mean_i a_i f_i/|f_i|, mean_j b_j m_j/|m_j|>, which needs no
    N x M matrix.

    Args:
        features: f, (N, D).
        memory: m, (M, D).
        scores: s, (N,), above 0.
        memory_scores: t, (M,), above 0.

    Returns:
        A scalar tensor, at least float32.
    """
    return 1 - (_mean_direction(features, scores) * _mean_direction(memory, memory_scores)).sum()


def _mean_direction(vectors: Tensor, scores: Tensor) -> Tensor:
    """Return sum_i s_i v_i/|v_i| / sum_i s_i, (D,), at least in float32."""
    vectors, scores = at_least_float32(vectors), at_least_float32(scores)
    return (F.normalize(vectors, dim=1, eps=1e-6) * (scores / scores.sum()).unsqueeze(1)).sum(0)
