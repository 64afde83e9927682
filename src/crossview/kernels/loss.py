"""Cross-entropy with Dice on CUDA: the logits are read once forward and once backward.

With a dozen tensor operations each way, the loss of a batch of slices took as long as a network:
the host could not launch them fast enough. With p the softmax of logits z, t the one-hot label,
w a weight (or 1), sums over a sample's voxels, e = 1e-5:

    I = sum w p t,  P = sum w p,  T = sum w t,  D = (2 I + e) / (P + T + e)
    L = (CE + 1 - mean D) / 2,  CE = sum w (-log p_y) / sum w over the whole batch
    dL/dz_j = w (c (p_j - t_j) + p_j (g_j - sum_k g_k p_k)) / 2,  g_k = a_k t_k + b_k

with c = 1 / sum w and, for B samples and K classes, a = -2 / (B K (P + T + e)),
b = (2 I + e) / (B K (P + T + e)^2).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from crossview.kernels.tiles import layout, shares

MOST_CLASSES, MOST_SAMPLES = 16, 64

SMOOTH = 1e-5
"""Constant e of Dice."""


PROGRAMS = 64
"""Largest number of programs per sample, a power of two."""


BLOCK = 1024


@triton.jit
def _logit(logits, at, here):
    return tl.load(logits + at, mask=here, other=0).to(tl.float32)


@triton.jit
def _largest_logit(logits, at, step, here, CLASSES: tl.constexpr):
    largest = _logit(logits, at, here)
    for k in tl.static_range(1, CLASSES):
        largest = tl.maximum(largest, _logit(logits, at + k * step, here))
    return largest


@triton.jit
def _weight(weight, place, here, WEIGHTED: tl.constexpr):
    if WEIGHTED:
        return tl.load(weight + place, mask=here, other=0).to(tl.float32)
    else:
        return tl.where(here, 1.0, 0.0)


@triton.jit
def _sums(
    logits, label, weight, out, voxels, share, sample_step, class_step, voxel_step,
    CLASSES: tl.constexpr, WEIGHTED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute this program's part of a sample's sums: I, P, T per class, w (-log p_y), and w."""
    sample, part = tl.program_id(0), tl.program_id(1)
    entropy = tl.zeros((BLOCK,), tl.float32)
    weights = tl.zeros((BLOCK,), tl.float32)
    row = out + (sample * tl.num_programs(1) + part) * (3 * CLASSES + 2)
    first = part * share
    last = tl.minimum(first + share, voxels)
    for k in tl.static_range(CLASSES):
        overlap = tl.zeros((BLOCK,), tl.float32)
        predicted = tl.zeros((BLOCK,), tl.float32)
        true = tl.zeros((BLOCK,), tl.float32)
        for start in range(first, last, BLOCK):
            voxel = start + tl.arange(0, BLOCK)
            here = voxel < last
            at = sample.to(tl.int64) * sample_step + voxel.to(tl.int64) * voxel_step
            largest = _largest_logit(logits, at, class_step, here, CLASSES)
            total = tl.zeros((BLOCK,), tl.float32)
            for other in tl.static_range(CLASSES):
                total += tl.exp(_logit(logits, at + other * class_step, here) - largest)
            own = _logit(logits, at + k * class_step, here) - largest
            place = sample.to(tl.int64) * voxels + voxel
            factor = _weight(weight, place, here, WEIGHTED)
            is_true = here & (tl.load(label + place, mask=here, other=0).to(tl.int32) == k)
            share_of_class = factor * tl.exp(own) / total
            predicted += share_of_class
            overlap += tl.where(is_true, share_of_class, 0)
            true += tl.where(is_true, factor, 0)
            entropy += tl.where(is_true, factor * (tl.log(total) - own), 0)
            if k == 0:
                weights += factor
        tl.store(row + k, tl.sum(overlap, 0))
        tl.store(row + CLASSES + k, tl.sum(predicted, 0))
        tl.store(row + 2 * CLASSES + k, tl.sum(true, 0))
    tl.store(row + 3 * CLASSES, tl.sum(entropy, 0))
    tl.store(row + 3 * CLASSES + 1, tl.sum(weights, 0))


@triton.jit
def _column(sums, sample, part, column, there, parts, CLASSES: tl.constexpr):
    """Return one column of the sums, added up over the programs of each sample."""
    at = (sample[:, None] * parts + part[None, :]) * (3 * CLASSES + 2) + column
    return tl.sum(tl.load(sums + at, mask=there, other=0), 1)


@triton.jit
def _finish(
    sums, loss, factors, samples, parts, smooth, tiny,
    CLASSES: tl.constexpr, SAMPLES: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Compute the loss, and for its gradient c, then a and b of each sample and class."""
    sample, part = tl.arange(0, SAMPLES), tl.arange(0, PARTS)
    there = (sample < samples)[:, None] & (part < parts)[None, :]
    dice = 0.0
    for k in tl.static_range(CLASSES):
        overlap = _column(sums, sample, part, k, there, parts, CLASSES)
        both = _column(sums, sample, part, CLASSES + k, there, parts, CLASSES)
        both += _column(sums, sample, part, 2 * CLASSES + k, there, parts, CLASSES) + smooth
        above = 2 * overlap + smooth
        dice += tl.sum(tl.where(sample < samples, above / both, 0), 0)
        place = factors + 1 + (sample * CLASSES + k) * 2
        tl.store(place, -2 / (both * samples * CLASSES), mask=sample < samples)
        tl.store(place + 1, above / (both * both * samples * CLASSES), mask=sample < samples)
    entropy = tl.sum(_column(sums, sample, part, 3 * CLASSES, there, parts, CLASSES), 0)
    weights = tl.sum(_column(sums, sample, part, 3 * CLASSES + 1, there, parts, CLASSES), 0) + tiny
    tl.store(factors, 1 / weights)
    tl.store(loss, (entropy / weights + 1 - dice / (samples * CLASSES)) / 2)


@triton.jit
def _gradient(
    logits, label, weight, factors, outer, out, voxels, sample_step, class_step, voxel_step,
    CLASSES: tl.constexpr, WEIGHTED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    sample = tl.program_id(0)
    voxel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    here = voxel < voxels
    at = sample.to(tl.int64) * sample_step + voxel.to(tl.int64) * voxel_step
    place = sample.to(tl.int64) * voxels + voxel
    factor = _weight(weight, place, here, WEIGHTED)
    truth = tl.load(label + place, mask=here, other=0).to(tl.int32)
    largest = _largest_logit(logits, at, class_step, here, CLASSES)
    total = tl.zeros((BLOCK,), tl.float32)
    mean = tl.zeros((BLOCK,), tl.float32)
    for k in tl.static_range(CLASSES):
        own = tl.exp(_logit(logits, at + k * class_step, here) - largest)
        pair = factors + 1 + (sample * CLASSES + k) * 2
        total += own
        mean += own * (tl.where(truth == k, tl.load(pair), 0) + tl.load(pair + 1))
    scale = tl.load(outer).to(tl.float32) * factor / 2
    by_entropy = tl.load(factors)
    for k in tl.static_range(CLASSES):
        own = tl.exp(_logit(logits, at + k * class_step, here) - largest) / total
        pair = factors + 1 + (sample * CLASSES + k) * 2
        of_dice = tl.where(truth == k, tl.load(pair), 0) + tl.load(pair + 1) - mean / total
        value = scale * (by_entropy * (own - tl.where(truth == k, 1.0, 0.0)) + own * of_dice)
        tl.store(out + at + k * class_step, value.to(out.dtype.element_ty), mask=here)


Steps = tuple[int, int, int]


def steps(logits: Tensor) -> Steps | None:
    """Return the strides of samples, classes and voxels, or None if voxels have no fixed stride."""
    if logits.is_contiguous():
        return logits.stride(0), logits.stride(1), 1
    even = logits.ndim in (4, 5) and logits.is_contiguous(memory_format=layout(logits))
    return (logits.stride(0), 1, logits.shape[1]) if even else None


class _CrossEntropyDice(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        logits: Tensor,
        place: Steps,
        label: Tensor,
        weight: Tensor,
        weighted: bool,
        tiny: float,
    ) -> Tensor:
        samples, classes = logits.shape[:2]
        voxels = label[0].numel()
        share, parts = shares(voxels, BLOCK, PROGRAMS)
        sums = torch.empty(
            (samples * parts, 3 * classes + 2), dtype=torch.float32, device=logits.device
        )
        loss = torch.empty((), dtype=torch.float32, device=logits.device)
        factors = torch.empty(1 + 2 * samples * classes, dtype=torch.float32, device=logits.device)
        fixed = {"CLASSES": classes, "WEIGHTED": weighted, "BLOCK": BLOCK}
        with torch.cuda.device_of(logits):
            _sums[(samples, parts)](logits, label, weight, sums, voxels, share, *place, **fixed)
            size = {
                "SAMPLES": triton.next_power_of_2(samples),
                "PARTS": triton.next_power_of_2(parts),
            }
            _finish[(1,)](
                sums, loss, factors, samples, parts, SMOOTH, tiny, CLASSES=classes, **size
            )
        context.save_for_backward(logits, label, weight, factors)
        context.fixed, context.place = fixed, place
        return loss

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> Any:
        logits, label, weight, factors = context.saved_tensors
        out = torch.empty_like(logits)
        voxels = label[0].numel()
        grid = (len(logits), triton.cdiv(voxels, BLOCK))
        with torch.cuda.device_of(logits):
            outer = gradients[0].contiguous()
            inputs = (logits, label, weight, factors, outer, out, voxels)
            _gradient[grid](*inputs, *context.place, **context.fixed)
        return out, None, None, None, None, None


def cross_entropy_dice(logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return L of logits (B, K, *S), classes (B, *S) and a weight (B, *S), or None for 1."""
    place = steps(logits)
    if place is None:
        logits = logits.contiguous()
        place = (logits.stride(0), logits.stride(1), 1)
    label = label.contiguous()
    factor = label if weight is None else weight.to(torch.float32).contiguous()
    tiny = 0.0 if weight is None else 1e-16
    result: Tensor = _CrossEntropyDice.apply(logits, place, label, factor, weight is not None, tiny)
    return result


def takes(logits: Tensor, label: Tensor) -> bool:
    """True for 2 to 16 classes and at most 64 samples, with a label of the same shape."""
    few = 1 < logits.shape[1] <= MOST_CLASSES and len(logits) <= MOST_SAMPLES
    small = few and logits.shape[1:].numel() < 2**31
    return small and label.shape == (len(logits), *logits.shape[2:])
