"""How well training goes, as scalars on the device: for the journal, without gradient and without waiting."""

from __future__ import annotations

from torch import Tensor


def foreground_dice(logits: Tensor, label: Tensor, region: Tensor | None = None) -> Tensor:
    """Hard Dice of the foreground (all classes as one), a scalar; 0 where neither has any.

    logits: (B, K, *S). label: (B, *S). region: (B, *S), voxels that count where it is not 0.
    """
    predicted, true = logits.detach().argmax(1) > 0, label > 0
    if region is not None:
        predicted, true = predicted & (region > 0), true & (region > 0)
    return 2 * (predicted & true).sum() / (predicted.sum() + true.sum()).clamp(min=1)


def foreground_share(label: Tensor) -> Tensor:
    """The share of voxels of a label (B, *S) that are not background, a scalar."""
    return (label > 0).float().mean()
