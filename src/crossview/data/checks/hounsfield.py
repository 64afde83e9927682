"""Scans that may be CT, without the values that fill what was not scanned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LOWEST_HU = -3100.0
"""Lower limit of Hounsfield units: air is at -1000, and some scanners pad with -3024."""

MOST_FILLERS, FILLED = 3, 0.9
"""Values below LOWEST_HU fill what was not scanned if at most three hold nine tenths of them.

The others come from interpolation at the edges.
"""


def scanned(channel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the values of a channel that were scanned: all, if no value far below air fills it."""
    low = channel < LOWEST_HU
    _, counts = np.unique(channel[low], return_counts=True)
    fillers = np.sort(counts)[-MOST_FILLERS:].sum()
    return channel if low.all() or fillers < FILLED * counts.sum() else channel[~low]


LOWEST_AIR, HIGHEST_AIR = -1500.0, -700.0
"""Limits of air in Hounsfield units, where it is -1000, with noise."""

LARGEST_NO_AIR = -50.0
"""Fat and lung are below: a scan in HU has lower values, even one cropped to the body."""

AIR_SHARE = 5
"""Percentile that shows the air around a body; the values below may be edges of padding."""

PADDED = 0.005
"""Minimum share of voxels with one value below that of air that make it padding."""


def air_of(channel: NDArray[np.float32]) -> float:
    """Return a low value of a channel, padding far below air aside: that of air in CT.

    A channel without values below ``LARGEST_NO_AIR`` gives its lowest one.
    """
    lowest = channel.min()
    if lowest > LARGEST_NO_AIR:
        return float(lowest)
    for _ in range(MOST_FILLERS):
        rest = channel[channel > lowest] if lowest < LOWEST_AIR else channel
        if not 0 < rest.size <= (1 - PADDED) * channel.size:
            break
        channel, lowest = rest, rest.min()
    return float(np.percentile(channel, AIR_SHARE))
