"""Mild augmentation: small rotations, scaling, brightness, contrast, gamma and noise.

The host draws from one numpy generator per image of the batch; the device computes. The ranges are
about half of nnU-Net's (Isensee et al., Nature Methods 2021), so that the result could be another
scan of the same kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from crossview.data.crops import CropPlan, crop_image, crop_label, crop_plan
from crossview.data.store import Store, moved

ANGLE = 15.0
"""Largest rotation in degrees, in either direction, in the plane of axes 0 and 1."""


SCALE = (0.85, 1.15)


CONTRAST = (0.8, 1.2)
"""Range of the factor on the distance from the patch's mean."""


BRIGHTNESS = 0.2
"""Largest value added or subtracted; normalised images have a standard deviation of about 1."""


GAMMA = (0.75, 1.33)
"""Range of the power applied to intensities scaled to 0..1 over the patch."""


NOISE = 0.1
"""Largest standard deviation of the noise."""


@dataclass(frozen=True)
class MildPlan(CropPlan):
    """A crop and its augmentation, by default none. angle: in degrees."""

    angle: float = 0.0
    scale: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0
    gamma: float = 1.0
    noise: float = 0.0

    def turn(self) -> NDArray[np.float64]:
        """Return the matrix from a voxel of the patch to one of the item, about their centres."""
        cosine, sine = (
            math.cos(math.radians(self.angle)) / self.scale,
            math.sin(math.radians(self.angle)) / self.scale,
        )
        matrix = np.diag([cosine, cosine, *[1 / self.scale] * (len(self.size) - 2)])
        matrix[0, 1], matrix[1, 0] = -sine, sine
        return matrix


def mild_plan(
    shape: Sequence[int], patch: Sequence[int], generator: np.random.Generator
) -> MildPlan:
    """Draw a crop of ``patch`` from an item of ``shape`` and its augmentation.

    A smaller item is padded with zeros.
    """
    start = crop_plan(shape, patch, released=False, rot90_flip=False, generator=generator).start
    angle, brightness = (float(generator.uniform(-most, most)) for most in (ANGLE, BRIGHTNESS))
    scale, contrast, gamma = (
        math.exp(generator.uniform(math.log(low), math.log(high)))
        for low, high in (SCALE, CONTRAST, GAMMA)
    )
    return MildPlan(
        start,
        tuple(patch),
        angle=angle,
        scale=scale,
        contrast=contrast,
        brightness=brightness,
        gamma=gamma,
        noise=float(generator.uniform(0, NOISE)),
    )


def mild_batch(
    store: Store,
    positions: Sequence[int],
    plans: Sequence[MildPlan],
    patch: Sequence[int],
    noise: torch.Generator,
    slots: Sequence[int] | None = None,
    size: int = 0,
) -> tuple[Tensor, Tensor | None]:
    """Augment crops on the device of ``noise``.

    Images are interpolated linearly, labels take the nearest voxel. Beyond an item its border is
    continued.

    Args:
        store: Store of the items.
        positions: Positions of the items in the store.
        plans: Plan per item.
        patch: Sides of a crop.
        noise: Generator of the noise.
        slots: Slots of the items if they are only a part of the batch.
        size: Size of the whole batch, for which noise is drawn, if ``slots`` are given.

    Returns:
        Images, float32 (B, C, *patch), and labels, int64 (B, *patch), None without labels.
    """
    image, label = moved_batch(store, positions, plans, patch, noise.device)
    drawn = batch_noise(image, noise, slots, size)
    return _other_intensities(image, plans, drawn), label


def batch_noise(
    image: Tensor, noise: torch.Generator, slots: Sequence[int] | None, size: int
) -> Tensor:
    """Return standard normal noise for a share of a batch: that of its slots in the whole batch."""
    count = size if slots else len(image)
    drawn = torch.randn((count, *image.shape[1:]), generator=noise, device=image.device)
    return drawn[list(slots)] if slots else drawn


def moved_batch(
    store: Store,
    positions: Sequence[int],
    plans: Sequence[MildPlan],
    patch: Sequence[int],
    device: torch.device,
    bend: Callable[[int, Tensor], Tensor] | None = None,
    margins: Sequence[float] = (),
) -> tuple[Tensor, Tensor | None]:
    """Turn and scale crops, images linearly, labels by the nearest voxel, in one sampling each.

    bend: called with a slot and the sides of its box; returns what is added to the grid of torch's
    ``grid_sample``, (1, *patch, axes). margins: the voxels of each item that it reaches further.
    """
    image = torch.empty((len(plans), store.channels, *patch), device=device)
    label = (
        None
        if store.labels is None
        else torch.empty((len(plans), *patch), dtype=torch.int64, device=device)
    )
    for slot, (position, plan) in enumerate(zip(positions, plans, strict=True)):
        margin = margins[slot] if margins else 0.0
        box, grid = _source(store.shapes[position], plan, patch, device, margin)
        if bend is not None:
            grid = grid + bend(slot, torch.tensor(box.size, device=device))
        values = torch.empty((1, store.channels, *box.size), device=store.device)
        crop_image(store, position, box, values[0])
        image[slot] = F.grid_sample(
            moved(values, device), grid, padding_mode="border", align_corners=False
        )[0]
        if label is not None:
            classes = torch.empty(box.size, dtype=torch.int64, device=store.device)
            crop_label(store, position, box, classes)
            nearest = F.grid_sample(
                moved(classes, device).float()[None, None],
                grid,
                mode="nearest",
                padding_mode="border",
                align_corners=False,
            )
            label[slot] = nearest[0, 0]
    return image, label


def _source(
    shape: Sequence[int],
    plan: MildPlan,
    patch: Sequence[int],
    device: torch.device,
    margin: float = 0.0,
) -> tuple[CropPlan, Tensor]:
    """Return the box of the padded item that the transformed patch covers, and its grid there.

    margin: voxels by which the box is larger on each side.
    """
    turn = plan.turn()
    reach = np.abs(turn) @ (np.array(patch) / 2) + margin
    middle = np.array(plan.start) + np.array(patch) / 2
    # If the patch is larger than the item, its excess voxels are zeros; beyond them the border is
    # continued.
    first = np.minimum(0, plan.start)
    last = np.maximum(shape, np.array(plan.start) + np.array(patch))
    low = np.maximum(np.floor(middle - reach).astype(int) - 1, first)
    high = np.minimum(np.ceil(middle + reach).astype(int) + 1, last)
    size = high - low
    # torch's grid runs from -1 to 1, border to border, the last axis first.
    theta = np.concatenate(
        [turn * np.array(patch) / size[:, None], (2 * (middle - low) / size - 1)[:, None]], axis=1
    )
    order = list(reversed(range(len(patch))))
    affine = moved(torch.tensor(theta[order][:, [*order, len(patch)]], dtype=torch.float32), device)
    grid = F.affine_grid(affine[None], [1, 1, *patch], align_corners=False)
    return CropPlan(tuple(int(side) for side in low), tuple(int(side) for side in size)), grid


def _other_intensities(image: Tensor, plans: Sequence[MildPlan], noise: Tensor) -> Tensor:
    """Apply gamma, then contrast and brightness, then noise, to each image by its plan.

    noise: standard normal; it is scaled here.
    """
    numbers = moved(
        torch.tensor([[plan.gamma, plan.contrast, plan.brightness, plan.noise] for plan in plans]),
        image.device,
    )
    gamma, contrast, brightness, deviation = numbers.T.reshape(4, -1, *[1] * (image.ndim - 1))
    low, high = (
        limit.reshape(*image.shape[:2], *[1] * (image.ndim - 2))
        for limit in image.flatten(2).aminmax(dim=2)
    )
    spread = (high - low).clamp_(min=1e-6)
    image = image.sub_(low).div_(spread).clamp_(0, 1).pow_(gamma).mul_(spread).add_(low)
    middle = image.flatten(2).mean(2).reshape(low.shape)
    image = image.sub_(middle).mul_(contrast).add_(middle + brightness)
    return image.add_(noise.mul_(deviation))
