"""Values that fill a scan where nothing was measured, and lie far from what was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOWEST = -2048.0
"""Values below can be a fill: -1024 is the lowest of a CT, and most other scans are positive."""

FAR = 2.0
"""Minimum distance of a fill from the other values, in widths of their range.

The range is from the 0.5th to the 99.5th percentile. For CT padded with -3024 the distance is about
1, with -8192 three and with -32768 twelve or more.
"""


@dataclass(frozen=True)
class Fill:
    """A fill value, its share of the voxels, and the lowest value of the others."""

    value: float
    share: float
    rest: float


def fill_of(channel: NDArray[np.float32]) -> Fill | None:
    """Return the fill of a channel's voxels, or None."""
    value = float(channel.min())
    if value >= LOWEST:
        return None
    others = channel[channel > value]
    if not others.size:
        return None
    low, high = np.percentile(others, (0.5, 99.5))
    rest = float(others.min())
    if rest - value <= FAR * (high - low):
        return None
    return Fill(value, 1 - others.size / channel.size, rest)
