"""How much a prediction is in doubt, voxel by voxel, from 0 (not at all) to 1."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor


def entropy(probability: Tensor) -> Tensor:
    """Shannon entropy in bits of class probabilities (K, *S) -> (*S)."""
    return -torch.xlogy(probability, probability).sum(0) / math.log(2)


def normalised_entropy(probability: Tensor) -> Tensor:
    """Entropy over its largest value, log2 K: 1 where all classes are equally probable. (K, *S) -> (*S)."""
    return (entropy(probability) / math.log2(len(probability))).clamp_(0, 1)


def disagreement(views: Sequence[Tensor]) -> Tensor:
    """Jensen-Shannon divergence in bits between views' class probabilities (K, *S), the mean over all pairs -> (*S).

    H((p + q) / 2) - (H(p) + H(q)) / 2 (Lin, IEEE Transactions on Information Theory 1991). 0 where the views agree, however
    unsure they are; 1 where they are sure of different classes. ``views`` are two or more.
    """
    entropies = [entropy(view) for view in views]
    pairs = list(itertools.combinations(range(len(views)), 2))
    total = torch.zeros_like(entropies[0])
    for i, j in pairs:
        total += entropy((views[i] + views[j]) / 2) - (entropies[i] + entropies[j]) / 2
    return (total / len(pairs)).clamp_(0, 1)
