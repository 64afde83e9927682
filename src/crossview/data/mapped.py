"""Prepared volumes in files without a name, mapped into memory: the page cache is their memory.

The system frees the space of such a file (``tempfile.TemporaryFile``) when its last user has ended,
however the process ends. So a kill leaves nothing behind, and a resumed run prepares its volumes
again.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossview.core.errors import fail
from crossview.data.compact import INDEX_KINDS, KINDS, LARGEST_FLOAT16, Compact

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


SURELY = 0.5
"""Share of the estimated space that must be free when a tenth of the cases are written."""


class MappedFile:
    """Arrays of any types, one after another, in a nameless file on the disk of ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed with its last user)
        self.arrays: list[tuple[np.dtype[Any], int]] = []
        """The type and the number of elements of each array."""
        self.nbytes = 0

    def add(self, array: NDArray[Any]) -> None:
        """Append an array, in C order. Raise OSError if the disk is full."""
        array = np.ascontiguousarray(array).reshape(-1)
        self._file.write(array.view(np.uint8).data)
        self.arrays.append((array.dtype, array.size))
        self.nbytes += array.nbytes

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield a copy of each array, flat."""
        self._file.seek(0)
        for kind, size in self.arrays:
            yield np.frombuffer(self._file.read(size * kind.itemsize), kind)

    def tensor(self, kind: str) -> Tensor:
        """Return all arrays, of type ``kind``, as one flat tensor that must not be written to."""
        if not self.nbytes:
            return torch.from_numpy(np.empty(0, kind))  # an empty file cannot be mapped
        self._file.flush()
        mapped = np.asarray(np.memmap(self._file, kind, "r"))  # keeps the file open
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(mapped)


class Volumes:
    """The voxels, look-up tables and labels of a store as its cases come in.

    count: the number of cases to come. folder: a folder on the disk that receives the files.
    Every method raises UserError if the files cannot be written.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count, self.came = folder, count, 0
        self._beyond_float16 = False
        with self._writing():
            self.voxels, self.values, self.labels = (MappedFile(folder) for _ in range(3))

    def add(self, image: Compact, label: NDArray[np.uint8] | None) -> None:
        """Write the next case. Stop at a tenth of the cases if the others surely do not fit."""
        self._beyond_float16 |= image.kind in INDEX_KINDS and image.largest() > LARGEST_FLOAT16
        with self._writing():
            self.voxels.add(image.data)
            self.values.add(image.values)
            if label is not None:
                self.labels.add(label)
            self.came += 1
            missing = self._needed() - self._nbytes()
            tenth = self.came == -(-self.count // 10)
            if tenth and shutil.disk_usage(self.folder).free < SURELY * missing:
                raise OSError(errno.ENOSPC, "")

    def unify(self) -> str:
        """Rewrite the images in the most compact kind that holds every one, and return it."""
        kinds = {str(kind) for kind, _ in self.voxels.arrays}
        kind = max(kinds, key=KINDS.index)
        if kind == "float16" and self._beyond_float16:
            kind = "float32"
        if kinds != {kind}:
            voxels, values = self.voxels, self.values
            with self._writing():
                self.voxels, self.values = MappedFile(self.folder), MappedFile(self.folder)
                for data, table in zip(voxels, values, strict=True):
                    wide = Compact(data, table).widened(kind)
                    self.voxels.add(wide.data)
                    self.values.add(wide.values)
        return kind

    def _nbytes(self) -> int:
        return self.voxels.nbytes + self.values.nbytes + self.labels.nbytes

    def _needed(self) -> float:
        """Return the bytes of all cases, estimated from those that came."""
        return self._nbytes() * self.count / max(1, self.came)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                fail(
                    "cannot write the prepared volumes here",
                    self.folder,
                    found=error.strerror or error,
                    fix="choose another --out",
                )
            fail(
                "the prepared volumes do not fit on the disk",
                self.folder,
                found=f"{shutil.disk_usage(self.folder).free / 1e9:.2f} GB free",
                expected=f"about {self._needed() / 1e9:.2f} GB for {self.count} volumes",
                fix="free disk space, or choose an --out on another disk",
            )
