"""CutMix of two halves of a batch, as in CML: one random box filled from the other half."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType

import numpy as np
from torch import Tensor

Box = tuple[slice, ...]
"""Box in the spatial axes: one slice per axis."""


def random_box(size: Sequence[int], ratio: float, rng: np.random.Generator) -> Box:
    """Return a random box of sides int(ratio * side) in an image of ``size`` voxels.

    The corner is uniform on [0, side - box side). As in the papers' code the upper end is excluded,
    so the last possible position is never drawn. A box as long as the image starts at 0. There is
    one draw per axis with a choice, in order.

    Args:
        size: Sides of the image in voxels.
        ratio: Side of the box as a share of the side of the image.
        rng: Generator of the corner, for example ``batch.rng.host("box")``.

    Raises:
        ValueError: If ``ratio`` is not in (0, 1].
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"the ratio of a box to its image must be in (0, 1], not {ratio}")
    box = []
    for side in size:
        length = int(ratio * side)
        corner = int(rng.integers(side - length)) if length < side else 0
        box.append(slice(corner, corner + length))
    return tuple(box)


def mix(outside: Tensor, inside: Tensor, box: Box) -> Tensor:
    """Return mix(a, b; M) = a * M + b * (1 - M), M = 0 inside the box and 1 outside.

    Args:
        outside: a, images (B, C, *S) or labels (B, *S).
        inside: b, of the same shape.
        box: The box, the same for all samples.

    Returns:
        A new tensor of the same shape.
    """
    mixed = outside.clone()
    region: tuple[EllipsisType | slice, ...] = (..., *box)
    mixed[region] = inside[region]
    return mixed


def halves(batch: Tensor) -> tuple[Tensor, Tensor]:
    """Return views of the first and second half (a, b) of a batch.

    Raises:
        ValueError: If the length of the batch is odd.
    """
    half, odd = divmod(len(batch), 2)
    if odd:
        raise ValueError(f"a batch of {len(batch)} has no two equal halves")
    return batch[:half], batch[half:]
