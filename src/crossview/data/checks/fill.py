"""Values that fill a scan where nothing was measured, and lie far from what was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = -2048.0, 8192.0
"""Values beyond can be a fill: -1024 is the lowest of a CT, and 12 bits end at 4,095."""

FAR = 2.0
"""Minimum distance of a fill from the other values, in widths of their range.

The range is from the 0.5th to the 99.5th percentile. For CT padded with -3024 the distance is about
1, with -8192 three and with -32768 twelve or more.
"""

SMALLEST = 0.005
"""Minimum share of a fill. Fewer voxels are single ones, which clipping at percentiles removes."""


@dataclass(frozen=True)
class Fill:
    """A fill value, its share of the voxels, and the value of the others that is closest to it."""

    value: float
    share: float
    rest: float

    @property
    def above(self) -> bool:
        """True if the other values are lower."""
        return self.value > self.rest


def fill_of(channel: NDArray[np.float32]) -> Fill | None:
    """Return the fill of a channel's voxels, the lower one of two, or None."""
    lowest, highest = float(channel.min()), float(channel.max())
    found = _fill(lowest, channel[channel > lowest], channel.size) if lowest < LOWEST else None
    if found is None and highest > HIGHEST:
        found = _fill(highest, channel[channel < highest], channel.size)
    return found


def _fill(value: float, others: NDArray[np.float32], voxels: int) -> Fill | None:
    share = 1 - others.size / voxels
    if not others.size or share < SMALLEST:
        return None
    low, high = np.percentile(others, (0.5, 99.5))
    rest = float(others.min() if value < low else others.max())
    return Fill(value, share, rest) if abs(rest - value) > FAR * (high - low) else None
