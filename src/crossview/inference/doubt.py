"""Uncertainty of a prediction per voxel, from 0 (none) to 1."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor


def entropy(probability: Tensor) -> Tensor:
    """Return the Shannon entropy in bits of class probabilities, (K, *S) -> (*S)."""
    return -torch.xlogy(probability, probability).sum(0) / math.log(2)


def normalised_entropy(probability: Tensor) -> Tensor:
    """Return entropy / log2 K, (K, *S) -> (*S): 1 where all classes are equally probable."""
    return (entropy(probability) / math.log2(len(probability))).clamp_(0, 1)


def disagreement(views: Sequence[Tensor]) -> Tensor:
    """Return the Jensen-Shannon divergence between views in bits, the mean over all pairs.

    H((p + q) / 2) - (H(p) + H(q)) / 2 (Lin, IEEE Transactions on Information Theory 1991).

    Args:
        views: Class probabilities (K, *S) of two or more views.

    Returns:
        (*S) in 0..1: 0 where the views agree, however uncertain they are; 1 where they are certain
        of different classes.
    """
    entropies = [entropy(view) for view in views]
    pairs = list(itertools.combinations(range(len(views)), 2))
    total = torch.zeros_like(entropies[0])
    for i, j in pairs:
        total += entropy((views[i] + views[j]) / 2) - (entropies[i] + entropies[j]) / 2
    return (total / len(pairs)).clamp_(0, 1)


def uncertainty(maps: Tensor, peers: bool) -> Tensor:
    """Return the uncertainty (*S) of foreground probabilities (1 + views, K-1, *S).

    It is the disagreement of the views, or the entropy of the combination, which comes first, if
    there is only one network or the views are not peers.
    """
    views = [_with_background(view) for view in maps[1:]] if peers else []
    return disagreement(views) if views else normalised_entropy(_with_background(maps[0]))


def background(foreground: Tensor) -> Tensor:
    """Return the probability of the background, (K-1, *S) -> (*S).

    With two classes arg-max is exact: 1 - p is rounded to less than p only for p > 0.5.
    """
    return (1 - foreground.sum(0)).clamp_(min=0)


def _with_background(foreground: Tensor) -> Tensor:
    return torch.cat([background(foreground)[None], foreground])
