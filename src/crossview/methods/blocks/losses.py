"""Segmentation and feature losses of CML (Wu et al., ACM Multimedia 2024) and its peers.

Losses of logits are computed at least in float32, also under autocast. No operation here is
non-deterministic on CUDA. The two Dice losses of soft segmentations are those of SS-Net's code
(ycwu1997/SS-Net@c0a8bf6).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from crossview.kernels import load, wanted

SMOOTH = 1e-5
"""Constant e that keeps Dice defined for a class in neither the prediction nor the label."""


def cross_entropy(logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean over samples and voxels of -log p_y.

    Args:
        logits: (B, K, *S).
        label: Classes 0..K-1 of any integer type, (B, *S).
        weight: w, of any type, (B, *S). The result is then sum(w CE) / (sum w + 1e-16).

    Returns:
        A scalar tensor, at least float32.
    """
    logarithms = log_softmax(logits)
    return _cross_entropy(logarithms, _one_hot(label, logarithms), weight)


def dice_loss(logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return 1 - mean over samples and classes of (2 sum p t + e) / (sum p + sum t + e), e = 1e-5.

    The sums are over voxels, the classes include background, and the denominator has no squares.

    Args:
        logits: (B, K, *S); p is their softmax.
        label: Classes 0..K-1 of any integer type, (B, *S); t is its one-hot form.
        weight: Factor of every voxel in every sum, (B, *S); None: 1.

    Returns:
        A scalar tensor, at least float32.
    """
    logarithms = log_softmax(logits)
    return _dice(logarithms.exp(), _one_hot(label, logarithms), weight)


def cross_entropy_dice(logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return L_sup = (CE + Dice) / 2 of :func:`cross_entropy` and :func:`dice_loss`.

    Within :func:`crossview.kernels.own_kernels` it is computed by
    :mod:`crossview.kernels.loss`.

    Args:
        logits: (B, K, *S).
        label: Classes 0..K-1 of any integer type, (B, *S).
        weight: Weight of every voxel, (B, *S); None: 1.

    Returns:
        A scalar tensor, at least float32.
    """
    kernels = load() if wanted(logits) else None
    if kernels is not None and kernels.fits_loss(logits, label, plain_cross_entropy_dice):
        loss: Tensor = kernels.cross_entropy_dice(logits, label, weight)
        return loss
    return plain_cross_entropy_dice(logits, label, weight)


def plain_cross_entropy_dice(logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return :func:`cross_entropy_dice` by torch's operations, on any device and in any type."""
    logarithms = log_softmax(logits)
    truth = _one_hot(label, logarithms)
    return (_cross_entropy(logarithms, truth, weight) + _dice(logarithms.exp(), truth, weight)) / 2


def binary_cross_entropy_dice(
    logits: Tensor, truth: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Return (BCE + Dice) / 2 of regions, each a decision of its own.

    BCE is the mean over samples, regions and voxels of -y log p - (1 - y) log(1 - p). Dice is that
    of :func:`dice_loss`, with regions in the place of classes.

    Args:
        logits: (B, R, *S); p is their sigmoid.
        truth: y, 0 or 1 of any type, (B, R, *S).
        weight: Weight of every voxel in every sum, of any type, (B, *S); None: 1.

    Returns:
        A scalar tensor, at least float32.
    """
    logits = at_least_float32(logits)
    truth = truth.to(logits.dtype)
    each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    if weight is None:
        binary = each.mean()
    else:
        weight = weight.to(logits.dtype)
        total = (each * weight.unsqueeze(1)).sum()
        binary = total / (logits.shape[1] * weight.sum() + 1e-16)
    return (binary + _dice(logits.sigmoid(), truth, weight)) / 2


def batch_dice_loss(logits: Tensor, label: Tensor, smooth: float = SMOOTH) -> Tensor:
    """Return 1 - mean over classes of (2 sum p t + e) / (sum p^2 + sum t^2 + e).

    The sums are over the whole batch, and the classes include background. This is the form of
    SSL4MIS's scripts (Luo, 2020), and so of the methods that come from there.

    Args:
        logits: (B, K, *S); p is their softmax.
        label: Classes 0..K-1 of any integer type, (B, *S); t is its one-hot form.
        smooth: e.

    Returns:
        A scalar tensor, at least float32.
    """
    logarithms = log_softmax(logits)
    return _batch_dice(logarithms.exp(), _one_hot(label, logarithms), smooth)


def cross_entropy_batch_dice(
    logits: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    *,
    smooth: float = SMOOTH,
    background: bool = True,
) -> Tensor:
    """Return (CE + batch Dice) / 2, the supervised loss of SSL4MIS's scripts.

    Args:
        logits: (B, K, *S).
        label: Classes 0..K-1 of any integer type, (B, *S).
        weight: Factor of every voxel in every sum, (B, *S), as in BCP's script for ACDC; None: 1.
        smooth: e in Dice.
        background: False to exclude the background's Dice, as in UA-MT's script for LA.

    Returns:
        A scalar tensor, at least float32.
    """
    logarithms = log_softmax(logits)
    truth = _one_hot(label, logarithms)
    dice = _batch_dice(logarithms.exp(), truth, smooth, weight, background)
    return (_cross_entropy(logarithms, truth, weight) + dice) / 2


def softmax(logits: Tensor) -> Tensor:
    """Return the softmax over the classes of logits (B, K, *S), at least in float32."""
    return at_least_float32(logits).softmax(1)


def log_softmax(logits: Tensor) -> Tensor:
    """Return the logarithm of :func:`softmax`, finite where that underflows."""
    return at_least_float32(logits).log_softmax(1)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return float16 and bfloat16 tensors as float32, others as they are."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def feature_discrepancy(features: Tensor, other: Tensor, smallest_norm: float = 1e-6) -> Tensor:
    """Return L_dis(f, g) = 1 + mean over samples and positions of cos(f, sg(g)).

    The cosine is over channels. sg stops the gradient, so only f is driven away from g. Minimising
    L_dis makes the features of two views differ.

    Args:
        features: f, (B, C, *S).
        other: g, (B, C, *S).
        smallest_norm: A vector shorter than this has cosine 0 and gradient 0.

    Returns:
        A scalar tensor, at least float32.
    """
    f, g = at_least_float32(features), at_least_float32(other.detach())
    cosine = (f * g).sum(1) * _inverse_norm(f, smallest_norm) * _inverse_norm(g, smallest_norm)
    return 1 + cosine.mean()


def _inverse_norm(features: Tensor, smallest_norm: float) -> Tensor:
    """Return 1 / |f| over channels, or 0 if |f| is too small for a meaningful gradient."""
    squares = (features * features).sum(1)
    long_enough = squares > smallest_norm**2
    return torch.where(long_enough, torch.where(long_enough, squares, 1).rsqrt(), 0)


def _one_hot(label: Tensor, like: Tensor) -> Tensor:
    """Return (B, *S) as (B, K, *S) in type and layout of ``like``.

    Products with it are faster than with a bool mask or a gather.
    """
    truth = torch.empty_like(like, requires_grad=False)
    for index in range(like.shape[1]):
        truth[:, index] = label == index
    return truth


def _cross_entropy(logarithms: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return -(logarithms * truth).sum() * (logarithms.shape[1] / logarithms.numel())
    weight = weight.to(logarithms.dtype)
    return -(logarithms * truth * weight.unsqueeze(1)).sum() / (weight.sum() + 1e-16)


def _dice(probabilities: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    voxels = tuple(range(2, truth.ndim))
    predicted = probabilities
    if weight is not None:
        weight = weight.to(truth.dtype).unsqueeze(1)
        truth, predicted = truth * weight, probabilities * weight
    overlap = (probabilities * truth).sum(voxels)
    both = predicted.sum(voxels) + truth.sum(voxels)
    return 1 - ((2 * overlap + SMOOTH) / (both + SMOOTH)).mean()


def _batch_dice(
    probabilities: Tensor,
    truth: Tensor,
    smooth: float,
    weight: Tensor | None = None,
    background: bool = True,
) -> Tensor:
    every = (0, *range(2, truth.ndim))
    squares = probabilities.square()
    if weight is not None:
        weight = weight.to(truth.dtype).unsqueeze(1)
        truth, squares = truth * weight, squares * weight
    overlap = (probabilities * truth).sum(every)
    dice = (2 * overlap + smooth) / (squares.sum(every) + truth.sum(every) + smooth)
    return 1 - (dice if background else dice[1:]).mean()


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
    both = first.square().sum(every) + second.square().sum(every)
    return 1 - ((2 * overlap + 1e-10) / (both + 1e-10)).mean()
