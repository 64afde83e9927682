"""Foreground positions of labelled items: to centre crops, and to estimate how often a crop hits.

Most uniformly drawn crops miss a structure that fills half a percent of a scan, and a network that
sees almost only background keeps predicting it. nnU-Net (Isensee et al., Nature Methods 2021)
centres a third of a batch's patches on the foreground; ``share`` does the same here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crossview.core.rng import Randomness
from crossview.data.crops import CropPlan
from crossview.data.store import Store

MOST_PLACES = 1000
"""Most voxels kept per class and item (8 kB); more centres would hardly change the crops."""


CROPS = 2000
"""Uniform crops drawn to estimate the share with a class: a standard error of at most 1.1 %."""


A_THIRD = 0.3333


NEARLY_ALWAYS = 0.9
"""Share of uniform crops with a class from which no centred crops are needed."""


Places = dict[int, NDArray[np.int64]]
"""By foreground class, flat voxel positions in ascending order.

At most ``MOST_PLACES`` per class, drawn with a fixed seed.
"""


Plan = TypeVar("Plan", bound=CropPlan)


def places_of(label: NDArray[np.uint8]) -> Places:
    """Return the positions of each class of a label (*S); all of them if a class has few."""
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
    """Centres for a share of the crops of a labelled store. The constructor reads each label once.

    share: of the stage's crops, spread evenly. Crop n (step times batch, plus slot) is centred if
    floor((n + 1) share) > floor(n share).
    """

    def __init__(self, store: Store, share: float) -> None:
        self.share = share
        self.shapes = store.shapes
        self.places = [places_of(store.classes_at(position)) for position in range(len(store))]
        self.with_foreground = [position for position, places in enumerate(self.places) if places]

    def centred(self, crop: int) -> bool:
        """True if crop ``crop`` of the stage is centred."""
        return bool(self.with_foreground) and int((crop + 1) * self.share) > int(crop * self.share)

    def item(self, position: int, generator: np.random.Generator) -> int:
        """Return ``position``, or a random item with foreground if that item has none.

        A slice of a volume may have none. All items with foreground are equally likely.
        """
        return (
            position
            if self.places[position]
            else self.with_foreground[int(generator.integers(len(self.with_foreground)))]
        )

    def moved(self, plan: Plan, position: int, generator: np.random.Generator) -> Plan:
        """Return the plan with its box centred on a random voxel of a random class of the item.

        The box stays within the item. It does not move along an axis on which it is at least as
        long as the item. An augmentation turns about the middle of the box.
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
    """Return voxel centres by class, (n, axes), as fractions of the scan's sides.

    Fractions hold on any grid of the same scan.
    """
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
    """Return by class the share of uniform crops that contain it, the mean over scans with it.

    The estimate uses at most ``MOST_PLACES`` voxels per class, so a crop with less than a
    thousandth of a structure may count as a miss.

    Args:
        scans: Positions from ``relative``, with axes in the order of ``shapes``.
        shapes: Sides of the scans on the grid that crops are cut from.
        patch: Sides of a crop.
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
    """Return the share of labelled crops to centre on foreground, given ``shares_met``, and why."""
    rarest = min(met, key=met.__getitem__, default=0)
    lowest = met.get(rarest, 1.0)
    if lowest >= NEARLY_ALWAYS:
        share = "all of those tried" if lowest == 1 else f"at least {math.floor(100 * lowest)}%"
        return 0.0, f"uniformly drawn crops nearly always contain each class ({share} did)"
    missed = (
        f"only {lowest:.0%} of uniformly drawn crops contain class {rarest} "
        f"(the limit is {NEARLY_ALWAYS:.0%})"
    )
    return A_THIRD, f"{missed}, so a third of the labelled crops are centred on the foreground"
