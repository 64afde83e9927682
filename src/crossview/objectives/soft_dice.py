"""Dice of two soft segmentations (B, K, *S), in the two forms that SS-Net's scripts have (ycwu1997/SS-Net@c0a8bf6)."""

from __future__ import annotations

from torch import Tensor


def pooled_dice_loss(first: Tensor, second: Tensor) -> Tensor:
    """1 - (2 sum p q + e) / (sum p + sum q + e), e = 1e-8, each sum over everything: samples, classes, voxels (LA)."""
    return 1 - (2 * (first * second).sum() + 1e-8) / (first.sum() + second.sum() + 1e-8)


def classwise_dice_loss(first: Tensor, second: Tensor) -> Tensor:
    """1 - mean over classes of (2 sum p q + e) / (sum p^2 + sum q^2 + e), e = 1e-10, sums over samples and voxels (ACDC)."""
    every = (0, *range(2, first.ndim))
    overlap = (first * second).sum(every)
    return (
        1
        - (
            (2 * overlap + 1e-10) / (first.square().sum(every) + second.square().sum(every) + 1e-10)
        ).mean()
    )
