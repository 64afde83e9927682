"""Images kept small in memory: an index and a table of distinct values if an image has few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INDEX_KINDS = ("uint8", "int16")
KINDS = (*INDEX_KINDS, "float16", "float32")
"""From the most compact to the widest.

An index into a table is exact; float16 rounds each value to 11 bits (1 part in 2,048).
"""
LARGEST_TABLE = 2**15
LARGEST_FLOAT16 = 65504.0
_MULTIPLIERS = (
    np.random.Generator(np.random.Philox(key=0)).integers(0, 2**31, size=50, dtype=np.uint32) * 2
    + 1
)


@dataclass(frozen=True)
class Compact:
    """An image as stored.

    Attributes:
        data: Array of the image's shape and of one of ``KINDS``.
        values: Table that an index points into; empty for float16 and float32.
    """

    data: NDArray[np.generic]
    values: NDArray[np.float32]

    @property
    def kind(self) -> str:
        return str(self.data.dtype)

    def largest(self) -> float:
        """Return the largest absolute value of the image."""
        held = self.values if self.kind in INDEX_KINDS else self.data
        return float(np.abs(held.astype(np.float32)).max())

    def widened(self, kind: str) -> Compact:
        """Return the image in a wider kind."""
        if kind == self.kind:
            return self
        if kind in INDEX_KINDS:
            return Compact(self.data.astype(kind), self.values)
        whole = self.values[self.data.astype(np.intp)] if self.kind in INDEX_KINDS else self.data
        return Compact(whole.astype(kind), np.empty(0, np.float32))


def compact(image: NDArray[np.float32]) -> Compact:
    """Return the most compact form of an image without NaN.

    It is exact for up to 32,768 distinct values, else float16, or float32 beyond the range of
    float16. A table pays only if it is shorter than half the image.
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
    """Return a uint8 index and its table, or None for more than 256 distinct values.

    The table starts from the values of a sample; missed values are added. This is about ten times
    faster than sorting.
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
    """Return each element's position in ``values`` by a hash without collisions.

    An element that is not in ``values`` gets any position.
    """
    shift = np.uint32(14)  # 2^18 slots: one multiplier in nine makes two of 256 values collide
    for multiplier in _MULTIPLIERS:
        slots = (values * multiplier) >> shift
        if len(np.unique(slots)) == len(values):
            table = np.zeros(2**18, np.uint8)
            table[slots] = np.arange(len(values), dtype=np.uint8)
            index: NDArray[np.uint8] = table[(bits * multiplier) >> shift]
            return index
    return np.minimum(np.searchsorted(values, bits), len(values) - 1).astype(np.uint8)
