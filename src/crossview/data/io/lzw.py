"""A check of data compressed by LZW, as TIFF has it, before it is decompressed.

Decoders trust their data, so damage is told first: a code must be a value, or an entry that the
codes since the last clear code have made (TIFF 6.0, section 13).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLEAR, END, FIRST = 256, 257, 258
"""The clear code, the end code, and the number of the first entry."""

ENTRIES = 4096 - FIRST
"""Entries that fit a table. An encoder must clear it before they are used up."""

CODES: NDArray[np.int64] = np.arange(ENTRIES + 1)
"""Numbers of the codes since the last clear code."""

WIDTHS = 9 + np.searchsorted([511, 1023, 2047], FIRST - 1 + CODES, side="right")
"""Bits of each code: a code longer from the last entry but one that fits the shorter ones."""

ENDS: NDArray[np.int64] = np.cumsum(WIDTHS)
"""Bits from the last clear code to the end of each code."""

NEWEST = FIRST - 1 + CODES
NEWEST[0] = 255
"""The highest number that each code can have: the entry that it makes itself."""

BYTES = int(ENDS[-1]) // 8 + 2
"""Bytes that hold the codes of a full table, wherever in a byte they begin."""


def check_lzw(data: bytes) -> None:
    """Raise ValueError if the data is damaged. Data without an end code may be whole."""
    if data[0] == 0 and data[1:2] and data[1] & 1:
        raise ValueError("LZW data of a form older than TIFF 6.0")
    begin = 0
    while begin < 8 * len(data):
        first = begin // 8
        bits = np.unpackbits(np.frombuffer(data[first : first + BYTES], np.uint8))[begin % 8 :]
        codes = _codes(bits)
        special = np.flatnonzero((codes == CLEAR) | (codes == END))
        used = special[0] if len(special) else len(codes)
        if (codes[:used] > NEWEST[:used]).any():
            raise ValueError("damaged LZW data: a code comes before its entry")
        if not len(special):
            if len(codes) == len(CODES):
                raise ValueError("damaged LZW data: the table is never cleared")
            return
        if codes[used] == END:
            return
        begin += int(ENDS[used])


def _codes(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the whole codes that begin after a clear code."""
    whole = int(np.searchsorted(ENDS, len(bits), side="right"))
    found = [np.zeros(0, np.int64)]
    for width in (9, 10, 11, 12):
        numbers = np.flatnonzero(WIDTHS[:whole] == width)
        if len(numbers):
            start, end = ENDS[numbers[0]] - width, ENDS[numbers[-1]]
            found.append(bits[start:end].reshape(-1, width) @ (1 << np.arange(width)[::-1]))
    return np.concatenate(found)
