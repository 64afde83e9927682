"""Images kept small in memory: an index and a table of the distinct values where an image has few of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INDEX_KINDS = ("uint8", "int16")
KINDS = (*INDEX_KINDS, "float16", "float32")
"""From the most compact to the widest. An index into a table is exact; float16 rounds each value to 11 bits (1 part in 2,048)."""
LARGEST_TABLE = 2**15
LARGEST_FLOAT16 = 65504.0
_MULTIPLIERS = (
    np.random.Generator(np.random.Philox(key=0)).integers(0, 2**31, size=50, dtype=np.uint32) * 2
    + 1
)


@dataclass(frozen=True)
class Compact:
    """An image as stored: ``data`` of the image's shape, one of ``KINDS``; ``values`` the table an index points into, else empty."""

    data: NDArray[np.generic]
    values: NDArray[np.float32]

    @property
    def kind(self) -> str:
        return str(self.data.dtype)

    def largest(self) -> float:
        """The largest absolute value of the image."""
        held = self.values if self.kind in INDEX_KINDS else self.data
        return float(np.abs(held.astype(np.float32)).max())

    def widened(self, kind: str) -> Compact:
        """The same image in a wider kind."""
        if kind == self.kind:
            return self
        if kind in INDEX_KINDS:
            return Compact(self.data.astype(kind), self.values)
        whole = self.values[self.data.astype(np.intp)] if self.kind in INDEX_KINDS else self.data
        return Compact(whole.astype(kind), np.empty(0, np.float32))


def compact(image: NDArray[np.float32]) -> Compact:
    """The most compact form of an image without NaN: exact with up to 32,768 distinct values, else float16, or float32 beyond its range.

    A table is worth it only where it is shorter than half the image.
    """
    image = np.ascontiguousarray(image, dtype=np.float32)
    bits = image.reshape(-1).view(np.uint32)  # bit patterns: minus zero stays minus zero
    few = _index_of_few(bits)
    if few is None:
        values = np.unique(bits)
        if len(values) <= min(LARGEST_TABLE, bits.size // 2):
            few = np.searchsorted(values, bits).astype(np.int16), values
    if few is not None:
        index, values = few
        return Compact(index.reshape(image.shape), values.view(np.float32))
    kind = "float16" if float(np.abs(image).max()) <= LARGEST_FLOAT16 else "float32"
    return Compact(image.astype(kind), np.empty(0, np.float32))


def _index_of_few(bits: NDArray[np.uint32]) -> tuple[NDArray[np.uint8], NDArray[np.uint32]] | None:
    """A uint8 index and its table, or None where there are more than 256 distinct values.

    About ten times faster than sorting: the values of a sample are taken for all, and those it missed are added.
    """
    values = np.unique(bits[:: max(1, bits.size // 16384)])
    while len(values) <= 256:
        index = _hashed_index(bits, values)
        missed = bits[values[index] != bits]
        if not missed.size:
            return index, values
        values = np.unique(np.concatenate((values, missed)))
    return None


def _hashed_index(bits: NDArray[np.uint32], values: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """For each element the position of its value in ``values`` (any position where it isn't there), by a hash without collisions."""
    shift = np.uint32(14)  # 2^18 slots: one multiplier in nine puts two of 256 values into one slot
    for multiplier in _MULTIPLIERS:
        slots = (values * multiplier) >> shift
        if len(np.unique(slots)) == len(values):
            table = np.zeros(2**18, np.uint8)
            table[slots] = np.arange(len(values), dtype=np.uint8)
            index: NDArray[np.uint8] = table[(bits * multiplier) >> shift]
            return index
    return np.minimum(np.searchsorted(values, bits), len(values) - 1).astype(np.uint8)
