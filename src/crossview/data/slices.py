"""Augmentation of whole slices: turns, flips and rotations, then resizing to the patch.

The host draws a *plan* from a numpy generator; the store's device carries it out, as the published
code of CML, BCP and SS-Net does on ACDC.
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
