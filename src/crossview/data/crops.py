"""Random crops with turns and flips, on the store's device.

The host draws a *plan* from a numpy generator; the store's device carries it out. An image's
look-up table is applied to the patch only. The padding is that of the published code of CML, BCP
and SS-Net.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossview.data.store import Store


@dataclass(frozen=True)
class CropPlan:
    """A box in the item as stored, and the turns and the flip of its content.

    Attributes:
        start: First corner per axis. It is negative, or the box ends beyond the item, where the
            box covers padding.
        size: Sides of the box.
        turns: Number of turns by 90 degrees in the plane of axes 0 and 1, from 0 towards 1.
        flip: Axis flipped after the turns, or None.
    """

    start: tuple[int, ...]
    size: tuple[int, ...]
    turns: int = 0
    flip: int | None = None


def crop_plan(
    shape: Sequence[int],
    patch: Sequence[int],
    *,
    released: bool,
    rot90_flip: bool,
    generator: np.random.Generator,
) -> CropPlan:
    """Draw a crop of ``patch`` from an item of ``shape``: turn and flip, then pad, then cut.

    Args:
        shape: Sides of the item.
        patch: Sides of the crop.
        released: Use the padding and the corners of the published code: ``released_padding``, and
            the last corner is never drawn. Otherwise an axis is padded exactly to the patch, the
            smaller half in front, and every corner can be drawn. Padding is 0 in image and label.
        rot90_flip: Turn 0 to 3 times and always flip along axis 0 or 1, so the identity never
            occurs, as in the published code.
        generator: Source of all draws.
    """
    turns, flip = (
        (int(generator.integers(4)), int(generator.integers(2))) if rot90_flip else (0, None)
    )
    turned = [shape[1], shape[0], *shape[2:]] if turns % 2 else list(shape)
    start = []
    for side, out, (before, after) in zip(
        turned, patch, _padding(turned, patch, released), strict=True
    ):
        last = before + side + after - out
        start.append(int(generator.integers(last if released else last + 1)) - before)
    return _box_before(turned, start, list(patch), turns, flip)


def released_padding(shape: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Return the voxels that the published code adds on BOTH sides of each axis.

    max((out - side) // 2 + 3, 0) if any side is <= out, else 0.
    """
    if all(side > out for side, out in zip(shape, patch, strict=True)):
        return (0,) * len(patch)
    return tuple(max((out - side) // 2 + 3, 0) for side, out in zip(shape, patch, strict=True))


def _padding(shape: Sequence[int], patch: Sequence[int], released: bool) -> list[tuple[int, int]]:
    if released:
        return [(width, width) for width in released_padding(shape, patch)]
    missing = [max(out - side, 0) for side, out in zip(shape, patch, strict=True)]
    return [(width // 2, width - width // 2) for width in missing]


def _box_before(
    shape: list[int], start: list[int], size: list[int], turns: int, flip: int | None
) -> CropPlan:
    """Return the box of the stored item that lands on the given box after turns and flip.

    ``shape`` is that of the turned item.
    """
    if flip is not None:
        start[flip] = shape[flip] - start[flip] - size[flip]
    for _ in range(turns):  # turned[i, j] = item[j, W - 1 - i]; W: the turned item's first side
        start[:2] = start[1], shape[0] - start[0] - size[0]
        size[:2] = size[1], size[0]
        shape[:2] = shape[1], shape[0]
    return CropPlan(tuple(start), tuple(size), turns, flip)


def crop_batch(
    store: Store, positions: Sequence[int], plans: Sequence[CropPlan], patch: Sequence[int]
) -> tuple[Tensor, Tensor | None]:
    """Return the planned crops: images, float32 (B, C, *patch), and labels, int64 (B, *patch)."""
    image = torch.empty((len(plans), store.channels, *patch), device=store.device)
    label = torch.empty((len(plans), *patch), dtype=torch.int64, device=store.device)
    for slot, (position, plan) in enumerate(zip(positions, plans, strict=True)):
        crop_image(store, position, plan, image[slot])
        if store.labels is not None:
            crop_label(store, position, plan, label[slot])
    return image, None if store.labels is None else label


def crop_image(store: Store, position: int, plan: CropPlan, out: Tensor) -> None:
    """Write the planned crop of a case's image into ``out``, float32 (C, *patch), contiguous."""
    item = store.stored(position)
    inside, target = _overlap(item.shape[1:], plan)
    piece = item[(slice(None), *inside)]
    if piece.shape[1:] == plan.size:
        store.decode(_turned(piece, plan, first=1), position, out=out)
        return
    whole = torch.zeros((len(item), *plan.size), device=out.device)
    whole[(slice(None), *target)] = store.decode(piece, position)
    out.copy_(_turned(whole, plan, first=1))


def crop_label(store: Store, position: int, plan: CropPlan, out: Tensor) -> None:
    """Write the planned crop of a case's label into ``out``, int64 (*patch)."""
    item = store.label(position)
    inside, target = _overlap(item.shape, plan)
    piece = item[inside]
    if piece.shape != plan.size:
        piece, part = item.new_zeros(plan.size), piece
        piece[target] = part
    out.copy_(_turned(piece, plan, first=0))


def _overlap(shape: Sequence[int], plan: CropPlan) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the overlap of box and item, as slices of the item and of the box."""
    inside = [
        (min(max(start, 0), side), min(max(start + size, 0), side))
        for start, size, side in zip(plan.start, plan.size, shape, strict=True)
    ]
    target = [
        slice(low - start, high - start)
        for (low, high), start in zip(inside, plan.start, strict=True)
    ]
    return tuple(slice(low, high) for low, high in inside), tuple(target)


def _turned(piece: Tensor, plan: CropPlan, first: int) -> Tensor:
    """Turn and flip in the plane of axes ``first`` and ``first`` + 1 by one transpose and flip."""
    reversed_axes = {0: set(), 1: {0}, 2: {0, 1}, 3: {1}}[plan.turns] ^ (
        {plan.flip} if plan.flip is not None else set()
    )
    if plan.turns % 2:
        piece = piece.transpose(first, first + 1)
    return piece.flip([first + axis for axis in reversed_axes]) if reversed_axes else piece
