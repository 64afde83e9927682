"""A check of JPEG data, as TIFF has it, before it is decompressed.

A decoder makes room for the size that the data states of itself, whatever the file around it says,
and fills what is missing. In damaged data that can be gigabytes. (Decoders of JPEG 2000, JPEG XL,
WebP and LERC refuse it.)
"""

from __future__ import annotations

BLOCK = 16
"""Sides are compressed in whole blocks, with subsampled colours of 16."""

FILL, SCAN, END = 0xFF, 0xDA, 0xD9
"""Second bytes of markers: filling, a scan begins, the image ends (ITU-T T.81, table B.1)."""

FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Those of frame headers, of any process."""

ALONE = {0x01, *range(0xD0, 0xD9)}
"""Those without a length."""


def check_jpeg(data: bytes, rows: int, columns: int) -> None:
    """Raise ValueError if the data states a larger image than its strip or tile holds."""
    stated = frame(data)
    for side, most in zip(stated, (rows, columns), strict=True):
        if side > -(-most // BLOCK) * BLOCK:
            large = f"{stated[0]:,} x {stated[1]:,} pixels"
            raise ValueError(f"damaged JPEG data: {large} in a strip or tile of {rows} x {columns}")


def frame(data: bytes) -> tuple[int, int]:
    """Return the rows and columns that JPEG data states, or raise ValueError."""
    at = 0
    while at + 9 <= len(data) and data[at] == FILL and (marker := data[at + 1]) not in (SCAN, END):
        if marker in FRAMES:
            rows, columns = (int.from_bytes(data[at + here : at + here + 2]) for here in (5, 7))
            return rows, columns
        if marker == FILL:
            at += 1
        elif marker in ALONE:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    raise ValueError("damaged JPEG data: no frame header")
