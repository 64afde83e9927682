"""Maps that are too large for memory: volumes in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


class Volumes:
    """A float32 array (*S) or (K, *S) on disk, of which one volume at a time is read.

    It is written in rows along one axis of S. The file has no name, so nothing is left of it after
    a kill.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, shape: Sequence[int], axis: int, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.shape, self.ndim = tuple(shape), len(shape)
        self.axis, self.first, self.skipped = axis, 0.0, 0
        self.box: tuple[slice, ...] = (slice(None),) * 3
        self.parts: list[tuple[int, tuple[int, ...]]] = []  # place in the file, shape (K, *rows)
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed with the last view)
        self.turn: Callable[[Array], Array] = lambda volume: volume

    def add(self, rows: NDArray[np.float32]) -> None:
        """Append the next rows (*rows) or (K, *rows)."""
        rows = np.ascontiguousarray(rows if self.ndim == 4 else rows[None], dtype=self.dtype)
        self.parts.append((self.file.tell(), rows.shape))
        self.file.write(rows.data)

    def turned(self, turn: Callable[[Array], Array]) -> Volumes:
        """Return the same volumes with ``turn`` applied to each when it is read."""
        view = object.__new__(Volumes)
        view.__dict__ |= self.__dict__ | {"turn": turn}
        return view

    def volume(self, index: int) -> Volumes:
        """Return one volume (*S) of an array (K, *S) whose rest is 0."""
        view = object.__new__(Volumes)
        alone = {"shape": self.shape[1:], "ndim": 3, "skipped": index}
        view.__dict__ |= self.__dict__ | alone
        return view

    def framed(self, shape: Sequence[int], box: tuple[slice, ...], first: float) -> Volumes:
        """Return the same volumes on a larger grid *S, of which they are the part ``box``.

        The rest is ``first`` in the first volume and 0 in the others.
        """
        view = object.__new__(Volumes)
        whole = (*self.shape[:-3], *shape)
        view.__dict__ |= self.__dict__ | {"shape": whole, "box": box, "first": first}
        return view

    def __iter__(self) -> Iterator[Array]:
        """Yield the volumes (*S) in order."""
        sides = self.shape[-3:]
        for index in range(self.shape[0] if self.ndim == 4 else 1):
            whole = np.full(sides, 0 if index else self.first, self.dtype)
            volume, row = whole[self.box], 0
            for start, shape in self.parts:
                part = np.empty(shape[1:], self.dtype)
                self.file.seek(start + (self.skipped + index) * part.nbytes)
                self.file.readinto(part.data)
                rows = part.shape[self.axis]
                volume[(slice(None),) * self.axis + (slice(row, row + rows),)] = part
                row += rows
            yield self.turn(whole)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        """Return everything in memory."""
        volumes = np.stack(list(self))
        return np.asarray(volumes if self.ndim == 4 else volumes[0], dtype=dtype)


Stored = Array | Volumes
"""An array of a prediction, in memory or on disk."""


def volumes_of(array: Stored) -> Iterator[Array]:
    """Yield the volumes (*S) of an array (*S) or (K, *S)."""
    if isinstance(array, Volumes) or array.ndim == 4:
        yield from array
    else:
        yield array
