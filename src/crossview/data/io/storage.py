"""How an image file stores its pixels, as far as the files of a set should agree."""

from __future__ import annotations

from dataclasses import dataclass

Colours = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Storage:
    """How a PNG or TIFF file stores its pixels.

    Attributes:
        numbers: The number type of a sample, such as "8-bit" or "32-bit decimal".
        inverted: True if the file says that 0 is white.
        palette: Colours of the entries, red, green and blue from 0 to 255; () without palette.
        white: True for a mask of 0 and 255.
    """

    numbers: str
    inverted: bool = False
    palette: Colours = ()
    white: bool = False
