"""Prepared volumes one after the other: in memory within a budget, beyond it in a nameless file that is mapped into memory.

The file has no name in its folder (``tempfile.TemporaryFile``): the system frees its space when the last user of it is gone, however the
process ends. So a kill leaves nothing behind, and a resumed run prepares its volumes anew.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossview.core.errors import Problem, UserError
from crossview.data.compact import INDEX_KINDS, KINDS, LARGEST_FLOAT16, Compact
from crossview.data.memory import Room

GB = 10**9


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


SURELY = 0.5
"""The space that volumes yet to come will take is told from those before them; with less than this part of it free, none is begun."""


class Shelf:
    """Arrays of any types, one after the other, in memory until ``spill``, from then on in a file."""

    def __init__(self) -> None:
        self._memory = (
            bytearray()
        )  # grows in place: a list of arrays would have to be copied into one, at twice the memory
        self._file: IO[bytes] | None = None
        self._places: list[tuple[np.dtype[Any], int, int]] = []
        self.nbytes = 0

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self._memory)

    @property
    def on_disk(self) -> bool:
        return self._file is not None

    def kinds(self) -> list[str]:
        """The type of each array."""
        return [str(kind) for kind, _, _ in self._places]

    def add(self, array: NDArray[Any]) -> None:
        """Put an array behind the others, in C order. OSError where the disk is full."""
        array = np.ascontiguousarray(array).reshape(-1)
        self._places.append((array.dtype, array.size, self.nbytes))
        self.nbytes += array.nbytes
        if self._file is None:
            self._memory += array.view(np.uint8).data
        else:
            self._file.write(array.view(np.uint8).data)

    def spill(self, folder: Path) -> None:
        """Move all to a nameless file on the disk of ``folder``. OSError where it is full or may not be written."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (it is closed when nobody reads it any more)
        self._file.write(self._memory)
        self._memory = bytearray()

    def sizes(self) -> list[int]:
        """The number of elements of each array."""
        return [size for _, size, _ in self._places]

    def read(self, number: int) -> NDArray[Any]:
        """A copy of one array, flat."""
        kind, size, start = self._places[number]
        end = start + size * kind.itemsize
        if self._file is None:
            return np.frombuffer(bytes(memoryview(self._memory)[start:end]), kind)
        self._file.seek(start)
        return np.frombuffer(self._file.read(end - start), kind)

    def tensor(self, kind: str) -> Tensor:
        """All arrays, which must be of type ``kind``, as one flat tensor: it takes the memory over, or maps the file for reading only."""
        if not self.nbytes:
            return torch.from_numpy(np.empty(0, kind))  # an empty file can't be mapped
        if self._file is None:
            return torch.from_numpy(np.frombuffer(self._memory, kind))
        self._file.flush()
        mapped = np.asarray(np.memmap(self._file, kind, "r"))  # it keeps the file open
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "The given NumPy array is not writable"
            )  # nobody writes into a store
            return torch.from_numpy(mapped)


class Shelves:
    """The voxels, the tables of values and the labels of a store as its cases come in.

    With the first byte beyond the budget all go to disk: the system keeps pages of a file in memory wherever there is room for them.
    room: None has no limit. count: how many cases will come. on_disk: whether that has happened.
    """

    def __init__(self, room: Room | None, count: int) -> None:
        self.voxels, self.values, self.labels = Shelf(), Shelf(), Shelf()
        self.on_disk = False
        self._room, self._count = room, count
        self._beyond_float16 = False
        self._former: Sequence[Shelf] = ()

    def add(self, image: Compact, label: NDArray[np.uint8] | None) -> None:
        """Take the next case. UserError where the disk has no room for it."""
        self._beyond_float16 |= image.kind in INDEX_KINDS and image.largest() > LARGEST_FLOAT16
        self._put(image, label)

    def kind(self) -> str:
        """The most compact kind that holds every image."""
        kind = max(self.voxels.kinds(), key=KINDS.index)
        return "float32" if kind == "float16" and self._beyond_float16 else kind

    def widen(self, kind: str) -> None:
        """Bring all images to one kind; those of another are written anew. UserError where the disk has no room for them."""
        if set(self.voxels.kinds()) == {kind}:
            return
        voxels, values = self._former = self.voxels, self.values
        self.voxels, self.values = Shelf(), Shelf()
        if self.on_disk:
            self._spill()
        for number in range(len(voxels.sizes())):
            self._put(Compact(voxels.read(number), values.read(number)).widened(kind), None)
        self._former = ()

    def _put(self, image: Compact, label: NDArray[np.uint8] | None) -> None:
        parts = [(self.voxels, image.data), (self.values, image.values)] + (
            [] if label is None else [(self.labels, label)]
        )
        if self._room is not None and not self.on_disk:
            held = sum(
                shelf.held for shelf in (self.voxels, self.values, self.labels, *self._former)
            )
            if held + sum(array.nbytes for _, array in parts) > self._room.memory:
                self._spill()
        try:
            for shelf, array in parts:
                shelf.add(array)
        except OSError as error:
            raise self._no_room(error) from error

    def _spill(self) -> None:
        assert self._room is not None
        self.on_disk = True
        if (
            self.voxels.sizes()
            and shutil.disk_usage(self._room.folder).free < SURELY * self._needed()
        ):
            raise self._no_room(None)
        try:
            for shelf in (self.voxels, self.values, self.labels):
                if not shelf.on_disk:
                    shelf.spill(self._room.folder)
        except OSError as error:
            raise self._no_room(error) from error

    def _needed(self) -> float:
        """Bytes that all cases will take, told from those that came."""
        came = max(1, len((self._former or (self.voxels,))[0].sizes()))
        return (
            sum(shelf.nbytes for shelf in (self.voxels, self.values, self.labels, *self._former))
            * self._count
            / came
        )

    def _no_room(self, error: OSError | None) -> UserError:
        assert self._room is not None
        folder, memory = self._room.folder, f"{self._room.memory / GB:.2f} GB of memory"
        if error is not None and error.errno not in FULL:
            found, fix = (
                error.strerror or str(error),
                "choose another --out, or a larger training.memory_gb",
            )
            return UserError(
                Problem(
                    f"the prepared volumes beyond {memory} can't be written here",
                    str(folder),
                    found,
                    fix=fix,
                )
            )
        found = f"{shutil.disk_usage(folder).free / GB:.2f} GB free"
        needed = f"about {self._needed() / GB:.2f} GB for {self._count} volumes, beyond {memory}"
        fix = "free some, choose an --out on another disk, or a larger training.memory_gb"
        return UserError(
            Problem("the prepared volumes don't fit on the disk", str(folder), found, needed, fix)
        )
