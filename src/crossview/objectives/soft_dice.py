"""Dice of two soft segmentations, in the two forms of SS-Net's code (ycwu1997/SS-Net@c0a8bf6)."""

from __future__ import annotations

from torch import Tensor


def pooled_dice_loss(first: Tensor, second: Tensor) -> Tensor:
    """Return 1 - (2 sum p q + e) / (sum p + sum q + e), e = 1e-8 (code for LA).

    Args:
        first: p, (B, K, *S). The sums are over samples, classes and voxels.
        second: q, of the same shape.
    """
    return 1 - (2 * (first * second).sum() + 1e-8) / (first.sum() + second.sum() + 1e-8)


def classwise_dice_loss(first: Tensor, second: Tensor) -> Tensor:
    """Return 1 - mean over classes of (2 sum p q + e) / (sum p^2 + sum q^2 + e), e = 1e-10 (ACDC).

    Args:
        first: p, (B, K, *S). The sums are over samples and voxels.
        second: q, of the same shape.
    """
    every = (0, *range(2, first.ndim))
    overlap = (first * second).sum(every)
    return (
        1
        - (
            (2 * overlap + 1e-10) / (first.square().sum(every) + second.square().sum(every) + 1e-10)
        ).mean()
    )
