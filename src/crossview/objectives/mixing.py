"""CutMix of two halves of a batch, as in CML: one random box, its inside from one half, its outside from the other."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType

import numpy as np
from torch import Tensor

Box = tuple[slice, ...]
"""A box in the spatial axes: one slice an axis."""


def random_box(size: Sequence[int], ratio: float, rng: np.random.Generator) -> Box:
    """A box of sides int(ratio * side) in an image of ``size`` voxels.

    Its corner is uniform on [0, side - box side), the upper end excluded as in the papers' code: the last possible
    position is never drawn. A box as long as the image starts at 0. One draw an axis that leaves a choice, in order.
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
    """mix(a, b; M) = a * M + b * (1 - M), M = 0 inside the box: ``inside``'s voxels there, ``outside``'s elsewhere.

    Images (B, C, *S) and labels (B, *S) alike, for all samples the same box. A new tensor.
    """
    mixed = outside.clone()
    region: tuple[EllipsisType | slice, ...] = (..., *box)
    mixed[region] = inside[region]
    return mixed


def halves(batch: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second half (a, b) of a batch of even length, as views."""
    half, odd = divmod(len(batch), 2)
    if odd:
        raise ValueError(f"a batch of {len(batch)} has no two halves")
    return batch[:half], batch[half:]
