"""Measures of training for the journal: scalars on the device, no gradient, no waiting."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def mean_dice(logits: Tensor, label: Tensor, region: Tensor | None = None) -> Tensor:
    """Return the hard Dice over the batch, averaged over foreground classes, a scalar tensor.

    Classes in neither the prediction nor the label are skipped; 0 if all are.

    Args:
        logits: (B, K, *S).
        label: Classes (B, *S).
        region: (B, *S), above 0 for the voxels that count; None: all voxels.
    """
    predicted, true = logits.detach().argmax(1), label
    if region is not None:
        predicted, true = predicted.where(region > 0, 0), true.where(region > 0, 0)
    return mean_dice_of((predicted == index, true == index) for index in range(1, logits.shape[1]))


def mean_dice_of(pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Return :func:`mean_dice` of pairs of predicted and true voxels, one per class or region."""
    counts = [
        torch.stack([(mine & wanted).sum(), mine.sum() + wanted.sum()]) for mine, wanted in pairs
    ]
    shared, total = torch.stack(counts, 1)
    dice: Tensor = 2 * shared / total.clamp(min=1)
    there: Tensor = total > 0
    return dice.sum() / there.sum().clamp(min=1)


def foreground_share(label: Tensor) -> Tensor:
    """Return the share of voxels of a label (B, *S) that are foreground, a scalar tensor."""
    return (label > 0).float().mean()
