"""Percentiles of scans that may be CT, without the values that fill what was not scanned."""

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
