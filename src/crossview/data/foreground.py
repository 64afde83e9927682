"""Where the foreground of labelled items lies: for crops that are centred on it, and to tell how often a uniform crop meets it.

A structure of half a percent of a scan is missed by most crops drawn uniformly, and a network that sees background almost only stays
with it. nnU-Net (Isensee et al., Nature Methods 2021) centres a third of a batch's patches on the foreground; so does ``share`` here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crossview.data.augment import CropPlan
from crossview.data.store import Store
from crossview.rng import Randomness

MOST_PLACES = 1000
"""Voxels of a class that are kept for an item: 8 kB; more centres would give hardly other crops."""
CROPS = 2000
"""Uniform crops that are drawn to tell how many of them hold a class: a standard error of at most 1.1 %."""

A_THIRD = 0.3333
NEARLY_ALWAYS = 0.9
"""Uniform crops that hold a class so often leave nothing to mend."""

Places = dict[int, NDArray[np.int64]]
"""By class (background left out) the flat positions of its voxels, rising; at most ``MOST_PLACES`` of them, drawn by a fixed seed."""


def places_of(label: NDArray[np.uint8]) -> Places:
    """The places of each class that a label (*S) has. A class with few voxels has all of them."""
    flat, found = label.reshape(-1), Places()
    for value in range(1, int(flat.max(initial=0)) + 1):
        places = np.flatnonzero(flat == value)
        if len(places) > MOST_PLACES:
            chosen = (
                Randomness(0)
                .host("foreground places", value)
                .choice(len(places), MOST_PLACES, replace=False)
            )
            places = places[np.sort(chosen)]
        if len(places):
            found[value] = places
    return found


class Centres:
    """Centres for a share of the crops of a labelled store. The labels are gone through once, when this is made.

    share: of the stage's crops, spread evenly: crop n (step times batch, plus slot) is centred where floor((n + 1) share) > floor(n share).
    """

    def __init__(self, store: Store, share: float) -> None:
        self.share = share
        self.shapes = store.shapes
        self.places = [
            places_of(store.label(position).cpu().numpy()) for position in range(len(store))
        ]
        self.with_foreground = [position for position, places in enumerate(self.places) if places]

    def centred(self, crop: int) -> bool:
        """Whether crop ``crop`` of the stage is a centred one."""
        return bool(self.with_foreground) and int((crop + 1) * self.share) > int(crop * self.share)

    def item(self, position: int, generator: np.random.Generator) -> int:
        """The item itself; instead of one without any foreground (a slice of a volume, say) another that has some, all equally often."""
        return (
            position
            if self.places[position]
            else self.with_foreground[int(generator.integers(len(self.with_foreground)))]
        )

    def moved(self, plan: CropPlan, position: int, generator: np.random.Generator) -> CropPlan:
        """The plan with its box centred on a random voxel of a random class of the item, as far as the box then lies within the item.

        An axis along which the box is as long as the item or longer keeps its place. A turn by an augmentation is about the box's middle.
        """
        shape, places = self.shapes[position], self.places[position]
        of_class = places[sorted(places)[int(generator.integers(len(places)))]]
        voxel = np.unravel_index(of_class[int(generator.integers(len(of_class)))], shape)
        start = [
            old if size >= side else min(max(int(at) - size // 2, 0), side - size)
            for old, at, size, side in zip(plan.start, voxel, plan.size, shape, strict=True)
        ]
        return replace(plan, start=tuple(start))


def relative(places: Places, shape: Sequence[int]) -> dict[int, NDArray[np.float64]]:
    """By class the middles of its places (n, axes) in units of the scan's sides, 0 to 1: so they hold on any grid of the same scan."""
    sides = np.array(shape)
    return {
        value: (np.stack(np.unravel_index(at, shape), axis=1) + 0.5) / sides
        for value, at in places.items()
    }


def shares_met(
    scans: Sequence[Mapping[int, NDArray[np.float64]]],
    shapes: Sequence[Sequence[int]],
    patch: Sequence[int],
) -> dict[int, float]:
    """By class, the share of uniformly drawn crops of ``patch`` that hold some of it, the mean over the scans that have it.

    scans: ``relative`` places, the axes as in ``shapes``, which are the scans' sides on the grid that crops are cut from. Told from at
    most ``MOST_PLACES`` voxels of a class, so a crop that touches less than a thousandth of a structure may count as one without.
    """
    met: dict[int, list[float]] = {}
    generator = Randomness(0).host("uniform crops")
    for places, shape in zip(scans, shapes, strict=True):
        last = [max(side - out, 0) for side, out in zip(shape, patch, strict=True)]
        low = generator.integers(0, np.array(last) + 1, size=(CROPS, len(shape)))
        for value, at in places.items():
            voxels = np.floor(at * np.array(shape)).astype(np.int64)
            inside = np.ones((CROPS, len(voxels)), bool)
            for axis, out in enumerate(patch):
                away = voxels[None, :, axis] - low[:, None, axis]
                inside &= (away >= 0) & (away < max(out, 1))
            met.setdefault(value, []).append(float(inside.any(1).mean()))
    return {value: float(np.mean(shares)) for value, shares in sorted(met.items())}


def share_for(met: Mapping[int, float]) -> tuple[float, str]:
    """The share of labelled crops to centre on foreground, told from ``shares_met``, and the reason."""
    rarest = min(met, key=met.__getitem__, default=0)
    lowest = met.get(rarest, 1.0)
    if lowest >= NEARLY_ALWAYS:
        share = (
            "every one of those tried" if lowest == 1 else f"at least {math.floor(100 * lowest)}%"
        )
        return 0.0, f"a uniformly drawn crop nearly always holds each class ({share} did)"
    missed = f"{lowest:.0%} of uniformly drawn crops hold class {rarest}, and below {NEARLY_ALWAYS:.0%} they miss it too often"
    return A_THIRD, f"{missed}: a third of the labelled crops are centred on a voxel of some class"
