"""Patches: sizes that a scan, a device and a network allow, and the levels that fit them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from crossview.core.errors import fail

MOST_LEVELS = 5

SMALLEST_BOTTLENECK = 4
"""Minimum voxels per side of the deepest level.

Below, convolutions see mostly padding, and bf16 fails on CPUs (see networks.layers).
"""

ROUNDED, FAR_LARGER = 32, 4
"""A patch may be this many times as large as the largest scan, with sides rounded up to multiples.

Many levels need sides that a thin scan does not have.
"""


def patch_of(median: Sequence[int], most: int, levels: Sequence[int]) -> tuple[list[int], int]:
    """Return the largest patch within the median scan, and the most ``levels`` that it allows.

    The patch has at most ``most`` voxels; its longest sides are cut first. Sides are multiples of
    2^(levels-1) and, if the scan allows it, at least ``SMALLEST_BOTTLENECK`` times that.
    """
    for count in levels:
        multiple = 2 ** (count - 1)
        smallest = SMALLEST_BOTTLENECK * multiple
        if min(median) < smallest and count != levels[-1]:
            continue  # with the fewest levels, small scans are padded
        patch = [max(side // multiple * multiple, smallest) for side in median]
        while prod(patch) > most and max(patch) > smallest:
            patch[patch.index(max(patch))] -= multiple
        if prod(patch) <= most:
            break
    return patch, count


def levels_of(patch: Sequence[int]) -> int:
    """Return the most levels whose deepest has ``SMALLEST_BOTTLENECK`` voxels per side, or 2."""
    fitting = [
        count
        for count in range(2, MOST_LEVELS + 1)
        if all(side % 2 ** (count - 1) == 0 for side in patch)
    ]
    wide = [count for count in fitting if min(patch) >= SMALLEST_BOTTLENECK * 2 ** (count - 1)]
    return max(wide, default=2)


def check_patch_fills(patch: Sequence[int], shapes: Sequence[Sequence[int]]) -> None:
    """Raise UserError for a patch of which the largest scan would fill a small part."""
    sides = (shape[-len(patch) :] for shape in shapes)
    largest = [max(of_axis) for of_axis in zip(*sides, strict=True)]
    room = prod(-(-side // ROUNDED) * ROUNDED for side in largest)
    if prod(patch) > FAR_LARGER * room:
        fail(
            "the patch is far larger than the scans: it would be padding, and take much memory",
            "data.patch",
            found=" x ".join(map(str, patch)),
            expected=f"about {' x '.join(map(str, largest))}, the largest scan, or less",
            fix="omit data.patch to have it planned, or give a smaller one",
        )
