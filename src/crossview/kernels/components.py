"""Largest component of each class on a CUDA device, without copies to the host and without waiting.

Components are found by union-find over runs. Each run of one class in a row starts as a set, whose
parent is the run's first voxel. Runs of neighbouring rows that touch are united by the atomic
minimum of the larger root's parent (Y. Komura, GPU-based cluster-labeling algorithm without the use
of conventional iteration, Computer Physics Communications 194, 2015). A parent is never larger than
its child, so the root of a set is its first voxel in C order, as the host's tie rule needs. The
result does not depend on the order in which threads run.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _later(first, second):
    return tl.maximum(first, second)


@triton.jit
def _root(parent, voxel, active):
    """Return the root of each active voxel.

    Loads bypass the first-level cache, which does not see what other threads have written.
    """
    above = tl.load(parent + voxel, mask=active, other=0, cache_modifier=".cg")
    while tl.max((active & (above != voxel)).to(tl.int32), 0) > 0:
        voxel = tl.where(active, above, voxel)
        above = tl.load(parent + voxel, mask=active, other=0, cache_modifier=".cg")
    return voxel


@triton.jit
def _unite(parent, first, second, active):
    """Join the sets of two voxels, lane by lane.

    If another thread has moved the larger root meanwhile, its new parent remains to be joined. The
    larger of the two only becomes smaller, so the loop ends.
    """
    while tl.max(active.to(tl.int32), 0) > 0:
        first = _root(parent, first, active)
        second = _root(parent, second, active)
        active = active & (first != second)
        high = tl.maximum(first, second)
        low = tl.minimum(first, second)
        before = tl.atomic_min(parent + high, low, mask=active)
        active = active & (before != high)
        first = tl.where(active, before, low)
        second = low


@triton.jit
def _run_starts(label, voxel, z, inside):
    """Return per voxel of a row: its class, True if a run starts there, its run's first voxel."""
    own = tl.load(label + voxel, mask=inside, other=0)
    previous = tl.load(label + voxel - 1, mask=inside & (z > 0), other=0)
    starts = (own > 0) & (own != previous)
    return own, starts, tl.associative_scan(tl.where(starts, voxel, -1), 0, _later)


@triton.jit
def _start_sets(label, parent, depth, BLOCK: tl.constexpr):
    z = tl.arange(0, BLOCK)
    voxel = tl.program_id(0) * depth + z
    inside = z < depth
    own, _, first = _run_starts(label, voxel, z, inside)
    tl.store(parent + voxel, tl.where(own > 0, first, -1), mask=inside)


@triton.jit
def _join_rows(label, parent, height, width, depth, BLOCK: tl.constexpr):
    """Join a row's runs with those they touch in earlier rows of the sample: 4 rows in 3D, 1 in 2D.

    One pair of voxels per pair of touching runs is enough: the first at the same position in both
    rows, else a diagonal pair.
    """
    row = tl.program_id(0)
    x = (row // width) % height
    y = row % width
    z = tl.arange(0, BLOCK)
    voxel = row * depth + z
    inside = z < depth
    own, starts, _ = _run_starts(label, voxel, z, inside)
    inside = inside & (own > 0)
    if tl.max(own.to(tl.int32), 0) > 0:
        for neighbour in range(4):
            dx = tl.where(neighbour < 3, -1, 0)
            dy = tl.where(neighbour < 3, neighbour - 1, -1)
            there = inside & (x + dx >= 0) & (y + dy >= 0) & (y + dy < width)
            other = voxel + (dx * width + dy) * depth
            level = tl.load(label + other, mask=there, other=0)
            left = tl.load(label + other - 1, mask=there & (z > 0), other=0)
            right = tl.load(label + other + 1, mask=there & (z + 1 < depth), other=0)
            _unite(parent, voxel, other, there & (level == own) & (starts | (left != own)))
            _unite(parent, voxel, other - 1, there & (level != own) & (left == own))
            _unite(parent, voxel, other + 1, there & (level != own) & (right == own))


@triton.jit
def _count(label, parent, sizes, depth, BLOCK: tl.constexpr):
    """Point every voxel at its root and count the voxels of each set there, run by run."""
    z = tl.arange(0, BLOCK)
    voxel = tl.program_id(0) * depth + z
    inside = z < depth
    own, _, first = _run_starts(label, voxel, z, inside)
    inside = inside & (own > 0)
    root = _root(parent, voxel, inside)
    tl.store(parent + voxel, root, mask=inside)
    following = tl.load(label + voxel + 1, mask=inside & (z + 1 < depth), other=0)
    tl.atomic_add(sizes + root, voxel - first + 1, mask=inside & (following != own))


def largest_components_there(label: Tensor, classes: int) -> Tensor:
    """Keep the largest component of each class, on the label's own device.

    Same result as :func:`crossview.methods.blocks.components.largest_components`.

    Args:
        label: uint8 (B, X, Y) or (B, X, Y, Z), fewer than 2^31 voxels.
        classes: Number of classes, background included.

    Returns:
        A new tensor of the same shape.

    Raises:
        ValueError: If the label has another type, number of axes or size.
    """
    if label.dtype != torch.uint8 or label.ndim not in (3, 4) or label.numel() >= 2**31:
        raise ValueError(
            "a label is uint8 (B, X, Y) or (B, X, Y, Z) of fewer than 2^31 voxels, "
            f"not {label.dtype} {list(label.shape)}"
        )
    label = label.contiguous()
    height, width, depth = label.shape[1:] if label.ndim == 4 else (1, *label.shape[1:])
    parent = torch.empty(label.shape, dtype=torch.int32, device=label.device)
    sizes = torch.zeros_like(parent)
    rows, block = label.numel() // max(1, depth), triton.next_power_of_2(depth)
    if rows == 0 or depth == 0:
        return label.clone()
    warps = max(1, block // 512)
    with torch.cuda.device_of(label):
        _start_sets[(rows,)](label, parent, depth, BLOCK=block, num_warps=warps)
        _join_rows[(rows,)](label, parent, height, width, depth, BLOCK=block, num_warps=warps)
        _count[(rows,)](label, parent, sizes, depth, BLOCK=block, num_warps=warps)
    return _largest(label, parent, sizes, classes)


def _largest(label: Tensor, root: Tensor, sizes: Tensor, classes: int) -> Tensor:
    """Keep the largest set per class, of equal ones the first: size and place as one number."""
    voxels = label[0].numel()
    place = torch.arange(voxels, device=label.device)
    number = sizes.flatten(1).long() * voxels + (voxels - 1 - place)
    samples = torch.arange(len(label), device=label.device) * voxels
    cleaned = torch.zeros_like(label)
    for index in range(1, classes):
        best = torch.where(label.flatten(1) == index, number, -1).amax(1)
        winner = samples + (voxels - 1 - best % voxels)
        winner = winner.view(-1, *[1] * (label.ndim - 1))
        cleaned = torch.where((root == winner) & (label == index), index, cleaned)
    return cleaned
