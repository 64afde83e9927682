"""Colours of classes in files for viewers."""

from __future__ import annotations

from collections.abc import Iterable

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
"""Colours that colour-blind readers tell apart (Okabe and Ito)."""


def colours_of(values: Iterable[int]) -> dict[int, Colour]:
    """Return a colour per value, in their order; colours repeat after the last one."""
    return {value: PALETTE[place % len(PALETTE)] for place, value in enumerate(values)}
