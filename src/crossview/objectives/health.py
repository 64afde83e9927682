"""How well training goes, as scalars on the device: for the journal, without gradient and without waiting."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_dice(logits: Tensor, label: Tensor, region: Tensor | None = None) -> Tensor:
    """Hard Dice over the batch, the mean of the foreground classes that prediction or label hold, a scalar; 0 where neither has any.

    logits: (B, K, *S). label: (B, *S). region: (B, *S), voxels that count where it is not 0.
    """
    predicted, true = logits.detach().argmax(1), label
    if region is not None:
        predicted, true = predicted.where(region > 0, 0), true.where(region > 0, 0)
    counts = []
    for index in range(1, logits.shape[1]):
        mine, wanted = predicted == index, true == index
        counts.append(torch.stack([(mine & wanted).sum(), mine.sum() + wanted.sum()]))
    shared, total = torch.stack(counts, 1)
    dice: Tensor = 2 * shared / total.clamp(min=1)
    there: Tensor = total > 0
    return dice.sum() / there.sum().clamp(min=1)


def foreground_share(label: Tensor) -> Tensor:
    """The share of voxels of a label (B, *S) that are not background, a scalar."""
    return (label > 0).float().mean()
