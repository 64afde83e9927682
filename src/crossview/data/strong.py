"""Strong augmentation: turns about every axis, large changes of size, bends, and poorer images.

The transforms and their ranges follow nnU-Net's (Isensee et al., Nature Methods 2021). Each is
drawn for an image with a probability of its own, so that some images stay nearly as they are. The
host draws from one numpy generator per image of the batch; the device computes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from crossview.data.crops import crop_plan
from crossview.data.mild import MildPlan, batch_noise, moved_batch
from crossview.data.store import Store, moved

ANGLE = 30.0
"""Largest rotation in degrees, in either direction, in each plane of two axes."""

FLAT = 3.0
"""A patch this many times longer than one of its sides is only turned in axes 0 and 1: its voxels
are not cubes, and a turn out of the slice would shear the image."""

SCALE = (0.7, 1.4)

NODES = 4
"""Nodes of a bend along each axis; between them displacements are interpolated linearly."""

BEND = 0.06
"""Largest displacement of a node, as a share of the patch's side."""

NOISE = 0.3
"""Largest standard deviation of the noise."""

BLUR = (0.5, 1.0)
"""Range of the standard deviation of the blur in voxels."""

CONTRAST = (0.65, 1.5)

BRIGHTNESS = 0.3

GAMMA = (0.7, 1.5)

COARSE = (0.5, 1.0)
"""Range of the resolution that an image is reduced to and brought back from."""

CHANCE = {
    "angle": 0.5,
    "scale": 0.5,
    "bend": 0.3,
    "noise": 0.3,
    "blur": 0.2,
    "contrast": 0.3,
    "brightness": 0.3,
    "coarse": 0.25,
    "gamma": 0.4,
    "inverted": 0.25,
}
"""Probability of each transform; "inverted" is that of a gamma on the negative image."""


@dataclass(frozen=True)
class StrongPlan(MildPlan):
    """A crop and its augmentation, by default none.

    Attributes:
        angles: Rotation in degrees per plane of axes: (0, 1), (0, 2), (1, 2); one in an image.
        bend: Displacements of the nodes as a share of the patch's sides, (axes, NODES, ...).
        blur: Standard deviation in voxels.
        coarse: Resolution that the image is reduced to.
        inverted: True if gamma is applied to the negative image.
    """

    angles: tuple[float, ...] = ()
    bend: NDArray[np.float32] | None = None
    blur: float = 0.0
    coarse: float = 1.0
    inverted: bool = False

    def turn(self) -> NDArray[np.float64]:
        axes = len(self.size)
        matrix = np.eye(axes) / self.scale
        planes = [(first, second) for first in range(axes) for second in range(first + 1, axes)]
        for (first, second), angle in zip(planes, self.angles, strict=False):
            cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            part = np.eye(axes)
            part[first, first] = part[second, second] = cosine
            part[first, second], part[second, first] = -sine, sine
            matrix = matrix @ part
        return matrix


def strong_plan(
    shape: Sequence[int], patch: Sequence[int], generator: np.random.Generator
) -> StrongPlan:
    """Draw a crop of ``patch`` from an item of ``shape`` and its augmentation.

    A smaller item is padded with zeros.
    """
    start = crop_plan(shape, patch, released=False, rot90_flip=False, generator=generator).start
    drawn = {name: bool(generator.random() < chance) for name, chance in CHANCE.items()}
    axes = len(patch)
    planes = 3 if axes == 3 and max(patch) <= FLAT * min(patch) else 1
    values: dict[str, Any] = {
        "angles": tuple(generator.uniform(-ANGLE, ANGLE, planes).tolist()),
        "bend": generator.uniform(-BEND, BEND, (axes, *[NODES] * axes)).astype(np.float32),
        "noise": float(generator.uniform(0, NOISE)),
        "brightness": float(generator.uniform(-BRIGHTNESS, BRIGHTNESS)),
        "blur": float(generator.uniform(*BLUR)),
        "coarse": float(generator.uniform(*COARSE)),
        "inverted": True,
    } | {
        name: math.exp(generator.uniform(math.log(low), math.log(high)))
        for name, (low, high) in {"scale": SCALE, "contrast": CONTRAST, "gamma": GAMMA}.items()
    }
    drawn["angles"] = drawn.pop("angle")
    chosen = {name: value for name, value in values.items() if drawn[name]}
    return replace(StrongPlan(start, tuple(patch)), **chosen)


def strong_batch(
    store: Store,
    positions: Sequence[int],
    plans: Sequence[StrongPlan],
    patch: Sequence[int],
    noise: torch.Generator,
    slots: Sequence[int] | None = None,
    size: int = 0,
) -> tuple[Tensor, Tensor | None]:
    """Augment crops on the device of ``noise``; arguments and result as of ``mild_batch``."""
    bends = [_bend(plan, patch, noise.device) for plan in plans]
    # An item's own, so that it does not depend on the others of its batch.
    margins = [0.0 if plan.bend is None else BEND * max(patch) for plan in plans]

    def bend(slot: int, sides: Tensor) -> Tensor:
        field = bends[slot]
        if field is None:
            return torch.zeros((), device=noise.device)
        # torch's grid runs from -1 to 1, border to border, the last axis first.
        return (field * 2 / sides).flip(-1)[None]

    image, label = moved_batch(store, positions, plans, patch, noise.device, bend, margins)
    drawn = batch_noise(image, noise, slots, size)
    for values, plan, standard in zip(image, plans, drawn, strict=True):
        _other_intensities(values, plan, standard)
    return image, label


def _bend(plan: StrongPlan, patch: Sequence[int], device: torch.device) -> Tensor | None:
    """Return the displacement of each voxel of the patch, in voxels, (*patch, axes)."""
    if plan.bend is None:
        return None
    nodes = moved(torch.from_numpy(plan.bend), device)[None]
    mode = "trilinear" if len(patch) == 3 else "bilinear"
    field = F.interpolate(nodes, size=tuple(patch), mode=mode, align_corners=True)[0]
    return field.movedim(0, -1) * torch.tensor(list(patch), dtype=torch.float32, device=device)


def _other_intensities(image: Tensor, plan: StrongPlan, noise: Tensor) -> None:
    """Apply noise, blur, brightness, contrast, low resolution and gamma to one image in place."""
    if plan.noise:
        image.add_(noise, alpha=plan.noise)
    if plan.blur:
        image.copy_(_blurred(image, plan.blur))
    image.add_(plan.brightness)
    if plan.contrast != 1:
        middle = image.flatten(1).mean(1).reshape(-1, *[1] * (image.ndim - 1))
        image.sub_(middle).mul_(plan.contrast).add_(middle)
    if plan.coarse < 1:
        image.copy_(_coarse(image, plan.coarse))
    if plan.gamma != 1:
        sign = -1.0 if plan.inverted else 1.0
        low, high = (
            limit.reshape(-1, *[1] * (image.ndim - 1))
            for limit in (image.mul_(sign).flatten(1).aminmax(dim=1))
        )
        spread = (high - low).clamp_(min=1e-6)
        image.sub_(low).div_(spread).clamp_(0, 1).pow_(plan.gamma).mul_(spread).add_(low)
        image.mul_(sign)


def _blurred(image: Tensor, deviation: float) -> Tensor:
    """Return the image (C, *patch) under a Gaussian of ``deviation`` voxels; its border goes on."""
    reach = math.ceil(3 * deviation)
    places = torch.arange(-reach, reach + 1, dtype=torch.float32, device=image.device)
    weights = torch.exp(-(places**2) / (2 * deviation**2))
    weights /= weights.sum()
    for axis in range(1, image.ndim):
        rows = image.movedim(axis, -1)
        flat = F.pad(rows.reshape(-1, 1, rows.shape[-1]), (reach, reach), mode="replicate")
        image = F.conv1d(flat, weights[None, None]).reshape(rows.shape).movedim(-1, axis)
    return image


def _coarse(image: Tensor, share: float) -> Tensor:
    """Return the image (C, *patch) reduced to a share of its resolution and brought back."""
    sides = image.shape[1:]
    fewer = [max(1, round(side * share)) for side in sides]
    mode = "trilinear" if len(sides) == 3 else "bilinear"
    return F.interpolate(
        F.interpolate(image[None], size=fewer, mode="nearest-exact"), size=sides, mode=mode
    )[0]
