"""Crops of partly labelled items that hold a labelled voxel: any other would teach nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crossview.core.partial import IGNORED
from crossview.core.rng import Randomness
from crossview.data.foreground import MOST_PLACES, Plan
from crossview.data.store import Store


class LabelledVoxels:
    """Labelled voxels of the items that have others. The constructor reads each label once.

    At most ``MOST_PLACES`` per item are kept, drawn with a fixed seed.
    """

    def __init__(self, store: Store) -> None:
        self.shapes = store.shapes
        self.places = dict(_places(store))

    def met(self, plan: Plan, position: int, generator: np.random.Generator) -> Plan:
        """Return the plan, moved as little as needed for its box to hold a labelled voxel.

        A box that holds one stays. Else it moves to a random one, and stays within the item.
        """
        places = self.places.get(position)
        if places is None:
            return plan
        start, size, sides = (
            np.array(each) for each in (plan.start, plan.size, self.shapes[position])
        )
        if ((places >= start) & (places < start + size)).all(1).any():
            return plan
        voxel = places[int(generator.integers(len(places)))]
        moved = np.clip(start, voxel - size + 1, voxel)
        moved = np.where(size < sides, np.clip(moved, 0, np.maximum(sides - size, 0)), start)
        return replace(plan, start=tuple(int(side) for side in moved))


def _places(store: Store) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield the positions of items with ignored voxels, and places (n, axes) of their others."""
    for position in range(len(store)):
        label = store.label(position).cpu().numpy()
        flat = np.flatnonzero(label != IGNORED)
        if len(flat) == label.size:
            continue
        if len(flat) > MOST_PLACES:
            generator = Randomness(0).host("labelled places", position)
            flat = np.sort(generator.choice(flat, MOST_PLACES, replace=False))
        yield position, np.stack(np.unravel_index(flat, label.shape), axis=1)
