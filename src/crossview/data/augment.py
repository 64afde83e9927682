"""Random crops, turns, flips, rotations and resizing of stored items, on the store's device.

The host draws a *plan* from a numpy generator; the store's device carries it out. An image's
look-up table is applied to the patch only. ``crop_released`` and ``resize`` follow the published
code of CML, BCP and SS-Net.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import cosdg, sindg
from torch import Tensor

from crossview.data.store import Store, moved


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
    """Return the box of the stored item that the turns and the flip bring to the given box.

    ``shape`` is that of the turned item.
    """
    if flip is not None:
        start[flip] = shape[flip] - start[flip] - size[flip]
    for _ in range(turns):  # turned[i, j] = item[j, W - 1 - i]; W: the turned item's first side
        start[:2] = start[1], shape[0] - start[0] - size[0]
        size[:2] = size[1], size[0]
        shape[:2] = shape[1], shape[0]
    return CropPlan(tuple(start), tuple(size), turns, flip)


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


@dataclass(frozen=True)
class ResizePlan:
    """Turns and a flip as in ``CropPlan``, or a rotation by ``angle`` degrees, before a resize."""

    turns: int = 0
    flip: int | None = None
    angle: int = 0


def resize_plan(augmentation: str, generator: np.random.Generator) -> ResizePlan:
    """Draw the augmentation of a slice.

    "rot90_flip" turns and flips every slice. "rot90_flip_or_rotate", as published for ACDC, turns
    and flips half of them, rotates a quarter by a whole angle of -20 to 19 degrees, and leaves a
    quarter unchanged.
    """
    if augmentation == "none":
        return ResizePlan()
    if augmentation == "rot90_flip" or generator.random() > 0.5:
        return ResizePlan(turns=int(generator.integers(4)), flip=int(generator.integers(2)))
    return (
        ResizePlan(angle=int(generator.integers(-20, 20)))
        if generator.random() > 0.5
        else ResizePlan()
    )


def resize_index(source: int, target: int) -> NDArray[np.int64]:
    """Return the nearest source position of each target position along one axis, (target,).

    Corners lie on corners: floor(i (n-1)/(m-1) + 0.5). This equals
    ``scipy.ndimage.zoom(..., order=0)``, which the published code uses, with one exception. For
    some sizes rounding pushes scipy's last coordinate past the end and scipy fills that border
    with 0; here the last position is used.
    """
    step = (source - 1) / (target - 1) if target > 1 else 1.0
    index: NDArray[np.int64] = np.floor(np.arange(target) * step + 0.5).astype(np.int64)
    return np.minimum(index, source - 1)


def resize_batch(
    store: Store, positions: Sequence[int], plans: Sequence[ResizePlan], patch: Sequence[int]
) -> tuple[Tensor, Tensor | None]:
    """Augment and resize whole slices, with one gather for the whole batch.

    Equals rot90 + flip, or ``scipy.ndimage.rotate(order=0, reshape=False)``, followed by a resize
    by ``resize_index``. A voxel rotated in from outside is 0.

    Returns:
        Images, float32 (B, C, *patch), and labels, int64 (B, *patch), None without labels.
    """
    index, outside, channels, tables = _slice_index(store, positions, plans, patch)
    image_index = (
        index[:, None] if store.channels == 1 else index[:, None] + channels[:, :, None, None]
    )
    stored = store.voxels.index_select(0, image_index.reshape(-1)).view(image_index.shape)
    image = stored.float()
    if store.indexed:
        image = store.values.index_select(0, (stored + tables[:, None, None, None]).view(-1)).view(
            stored.shape
        )
    label = (
        None
        if store.labels is None
        else store.labels.index_select(0, index.view(-1)).view(index.shape).long()
    )
    for slot, mask in outside.items():
        image[slot].masked_fill_(mask, 0)
        if label is not None:
            label[slot].masked_fill_(mask, 0)
    return image, label


def _slice_index(
    store: Store, positions: Sequence[int], plans: Sequence[ResizePlan], patch: Sequence[int]
) -> tuple[Tensor, dict[int, Tensor], Tensor, Tensor]:
    """Return the positions of a batch in the store, on the store's device.

    They are computed on the host and moved in ONE copy: a GPU would wait for each of many small
    ones.

    Returns:
        The position of each patch pixel in ``store.labels``, (B, *patch); per rotated slot, the
        mask of pixels outside the slice (their position is that of its first pixel); the offsets
        from there to each channel in ``store.voxels``, (B, C); the start of each item's table in
        ``store.values``, (B,).
    """
    rows, columns = (np.empty((len(plans), side), np.int64) for side in patch)
    rotated = {}
    for slot, (position, plan) in enumerate(zip(positions, plans, strict=True)):
        base, steps, sides = _turned_layout(store.shapes[position], plan)
        rows[slot] = store.offsets[position] + base + steps[0] * resize_index(sides[0], patch[0])
        columns[slot] = steps[1] * resize_index(sides[1], patch[1])
        if plan.angle:
            rotated[slot] = _rotated_index(store.shapes[position], plan.angle, patch)
    starts = np.array([[store.offsets[position]] for position in positions])
    sizes = np.array([[prod(store.shapes[position])] for position in positions])
    channels = (store.channels - 1) * starts + np.arange(store.channels) * sizes
    tables = np.array([store.value_offsets[position] for position in positions])
    # int32 gathers twice as fast on the CPU.
    wide = np.int64 if len(store.voxels) >= 2**31 else np.int32
    parts = [rows, columns, channels, tables, *rotated.values()]
    packed = np.concatenate([part.reshape(-1) for part in parts], dtype=wide, casting="same_kind")
    pieces = torch.split(
        moved(torch.from_numpy(packed), store.device), [part.size for part in parts]
    )
    row, column, channel, table, *places = (
        piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)
    )
    index = row[:, :, None] + column[:, None, :]
    outside = {}
    for slot, place in zip(rotated, places, strict=True):
        outside[slot] = place < 0
        torch.add(place.clamp(min=0), store.offsets[positions[slot]], out=index[slot])
    return index, outside, channel, table


def _turned_layout(shape: Sequence[int], plan: ResizePlan) -> tuple[int, list[int], list[int]]:
    """Return the start, the steps and the sides of a numpy view that turns and flips a slice."""
    base, steps, sides = 0, [shape[1], 1], [shape[0], shape[1]]
    for _ in range(plan.turns):
        base += (sides[1] - 1) * steps[1]
        steps, sides = [-steps[1], steps[0]], [sides[1], sides[0]]
    if plan.flip is not None:
        base += (sides[plan.flip] - 1) * steps[plan.flip]
        steps[plan.flip] = -steps[plan.flip]
    return base, steps, sides


def _rotated_index(shape: Sequence[int], angle: int, patch: Sequence[int]) -> NDArray[np.int32]:
    """Return each patch pixel's position in a slice rotated about its centre, (*patch).

    It is -1 outside the slice. Positions are float64 and in scipy's order of operations: a pixel is
    outside if its exact position is, before rounding.
    """
    matrix = np.array([[cosdg(angle), sindg(angle)], [-sindg(angle), cosdg(angle)]])
    centre = (np.array(shape) - 1) / 2
    shift = centre - matrix @ centre
    row, column = (
        resize_index(side, out).astype(np.float64) for side, out in zip(shape, patch, strict=True)
    )
    places = [
        (row * matrix[axis, 0] + shift[axis])[:, None] + column * matrix[axis, 1] for axis in (0, 1)
    ]
    outside = (
        (places[0] < 0) | (places[0] > shape[0] - 1) | (places[1] < 0) | (places[1] > shape[1] - 1)
    )
    # astype truncates towards 0, which is the floor for every position inside the slice.
    rounded = [np.add(place, 0.5, out=place).astype(np.int32) for place in places]
    index: NDArray[np.int32] = rounded[0] * np.int32(shape[1]) + rounded[1]
    index[outside] = -1
    return index
