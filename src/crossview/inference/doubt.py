"""Uncertainty of a prediction per voxel, from 0 (none) to 1."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from crossview.methods.heads import CLASSES, Classes


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


def uncertainty(maps: Tensor, peers: bool, head: Classes = CLASSES) -> Tensor:
    """Return the uncertainty (*S) of maps (1 + views, M, *S); of regions the mean over them.

    It is the disagreement of the views, or the entropy of the combination, which comes first, if
    there is only one network or the views are not peers.
    """
    if peers and len(maps) > 1:
        of_views = zip(*(head.distributions(view) for view in maps[1:]), strict=True)
        return _mean([disagreement(views) for views in of_views])
    return entropy_of_maps(maps[0], head)


def entropy_of_maps(maps: Tensor, head: Classes) -> Tensor:
    """Return the normalised entropy (*S) of maps (M, *S), of regions the mean."""
    return _mean([normalised_entropy(each) for each in head.distributions(maps)])


def _mean(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack([*values]).mean(0)
