"""NRRD volumes (3D Slicer, ITK): read by pynrrd, placed in space by this module.

NRRD counts in the space that its header names, mostly towards left, posterior and superior; all
geometry here is towards right, anterior and superior, as in NIfTI.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import fail
from crossview.core.files import written_whole
from crossview.data.io import scan
from crossview.data.io.extras import need
from crossview.data.io.geometry import Header
from crossview.data.io.scan import check_finite
from crossview.data.io.volume_file import DEFLATE_LIMIT, check_geometry, check_stored
from crossview.data.io.volumes import Stored, volumes_of

MODULE, EXTRA = "nrrd", "formats"

SUFFIXES = (".seg.nrrd", ".nrrd", ".nhdr")

SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
"""Signs that bring coordinates of a space towards right, anterior and superior."""

LPS = "left-posterior-superior"

EXPORT = "export it again, for example from 3D Slicer, or as NIfTI"

FACTORS = {
    "raw": 1.0,
    "gzip": DEFLATE_LIMIT,
    "gz": DEFLATE_LIMIT,
    "bzip2": math.inf,
    "bz2": math.inf,
}
"""Most bytes that a byte of each encoding can expand to; in text, a digit is a number."""

TEXT = ("ascii", "text", "txt")
"""Encodings as text."""

TYPES = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}
"""Names of the types of predictions."""


@dataclass(frozen=True, eq=False)
class NrrdVolume:
    """An opened NRRD file.

    Attributes:
        path: The file.
        fields: Its fields and key/value pairs by name, as pynrrd parses them.
        start: Bytes of the header.
    """

    path: Path
    fields: Mapping[str, Any]
    start: int

    step = 0.0

    @cached_property
    def directions(self) -> NDArray[np.float64]:
        """The direction of each axis, a row of NaN for one outside space."""
        found = self.fields.get("space directions")
        if found is None:
            spacings = "spacings" in self.fields
            fail(
                "the NRRD file has no space directions",
                self.path,
                found="spacings only" if spacings else "no geometry",
                expected="'space', 'space directions' and 'space origin' in its header: without "
                "them its voxels have no place in space",
                fix=EXPORT,
            )
        return np.asarray(found, dtype=np.float64)

    @cached_property
    def in_space(self) -> list[int]:
        """The three axes that are in space."""
        sizes = tuple(map(int, self.fields["sizes"]))
        axes = [axis for axis, row in enumerate(self.directions) if not np.isnan(row).any()]
        if len(axes) != 3 or len(sizes) not in (3, 4) or self.directions.shape != (len(sizes), 3):
            fail(
                "the scan has an unexpected shape",
                self.path,
                found=f"{sizes}, of which {len(axes)} axes have a direction in space",
                expected="three axes in space, and at most one of channels or layers",
                fix="split a series into single volumes; export a slice as PNG or TIFF",
            )
        return axes

    @property
    def shape(self) -> tuple[int, ...]:
        """(X, Y, Z, C)."""
        sizes = [int(side) for side in self.fields["sizes"]]
        return (*(sizes[axis] for axis in self.in_space), math.prod(sizes[a] for a in self._others))

    @property
    def _others(self) -> list[int]:
        return [axis for axis in range(len(self.fields["sizes"])) if axis not in self.in_space]

    @cached_property
    def header(self) -> Header:
        with damage_named(self.path):
            affine = self._affine()
            check_geometry(affine, self.path)
            return Header(self.shape[:3], self.shape[3], affine, self)

    def _affine(self) -> NDArray[np.float64]:
        space = str(self.fields.get("space", "none")).lower()
        axes = self.in_space
        if space not in SPACES:
            fail(
                "the space of the NRRD file is unknown",
                self.path,
                found=f"space: {space}",
                expected="left-posterior-superior, right-anterior-superior or "
                "left-anterior-superior",
                fix=EXPORT,
            )
        units = {str(unit) for unit in self.fields.get("space units", ())} - {"mm", "", "???"}
        if units:
            fail(
                "the NRRD file is not in millimetres",
                self.path,
                found=f"space units: {', '.join(sorted(units))}",
                expected="mm",
                fix=EXPORT,
            )
        affine = np.eye(4)
        affine[:3, :3] = self.directions[axes].T
        affine[:3, 3] = np.asarray(self.fields.get("space origin", (0, 0, 0)), dtype=np.float64)
        return np.diag([*SPACES[space], 1]) @ affine

    def values(self, channels: int, noun: str = "scan") -> NDArray[np.float32]:
        values = self.stored(channels).astype(np.float32)
        check_finite(values, self.path, noun)
        return values

    def stored(self, channels: int) -> NDArray[Any]:
        """Return the numbers as stored, (C, X, Y, Z). UserError as for :meth:`values`."""
        with damage_named(self.path):
            nrrd = need(MODULE, EXTRA)
            sizes = tuple(map(int, self.fields["sizes"]))
            dtype = nrrd.reader._determine_datatype(self.fields)
            most = self._most(dtype.itemsize)
            check_stored(self.path, self.shape, channels, dtype, stored=sizes, most=most)
            with self.path.open("rb") as file:
                file.seek(self.start)
                values: NDArray[Any] = nrrd.read_data(self.fields, file, str(self.path))
            # The axes in space keep their order; channels, if any, come first.
            return np.moveaxis(values, self._others[0], 0) if self._others else values[None]

    def _most(self, itemsize: int) -> float:
        """Return the most bytes of voxels that the file, or the file that it names, can hold."""
        name = self.fields.get("data file", self.fields.get("datafile"))
        if name is not None and (str(name).split()[0] == "LIST" or "%" in str(name)):
            fail(
                "the slices of the NRRD file are files of their own",
                self.path,
                found=f"data file: {name}",
                expected="all voxels in one file",
                fix=EXPORT,
            )
        file = self.path if name is None else self.path.parent / name
        if not file.is_file():
            fail(
                "the file with the voxels is missing",
                self.path,
                found=f"no file {file}",
                expected="the file that the header names, beside it",
                fix="copy it there, or save the scan as one .nrrd file",
            )
        encoding = str(self.fields["encoding"])
        if encoding not in (*FACTORS, *TEXT):
            fail(
                "the encoding of the NRRD file is not supported",
                self.path,
                found=encoding,
                expected="raw, gzip, bzip2 or ascii",
                fix=EXPORT,
            )
        return file.stat().st_size * FACTORS.get(encoding, itemsize)


def opened(path: Path) -> NrrdVolume:
    """Open a file. UserError if it is missing or damaged, or is not an NRRD file."""
    nrrd = need(MODULE, EXTRA)
    with damage_named(path), path.open("rb") as file:
        lines = [file.readline(8)]
        if not lines[0].startswith(b"NRRD"):
            raise ValueError(f"no header of NRRD in the first {len(lines[0])} bytes")
        lines[0] += file.readline()
        while (line := file.readline()).strip():
            lines.append(line)
            if line.replace(b" ", b"").lower().startswith(b"datafile:list"):
                break  # names of files follow, no fields
        # pynrrd drops letters beyond ASCII from a file's bytes, but not from text.
        text = [line.decode("utf-8", "replace") for line in lines]
        return NrrdVolume(path, nrrd.read_header(text), file.tell())


def damage_named(path: Path) -> AbstractContextManager[None]:
    """Turn any error of reading a file into a UserError that names the file."""
    return scan.damage_named(path, "an NRRD file")


def write(
    path: Path,
    arrays: Mapping[str, Stored],
    header: Header,
    pairs: Mapping[str, str] | None = None,
) -> None:
    """Write one array (X, Y, Z) or (K, X, Y, Z) on the grid of a scan, with key/value pairs.

    pynrrd writes the time of day into its headers, and refuses letters beyond ASCII.
    """
    (array,) = arrays.values()
    assert header.affine is not None  # volumes have one
    affine = np.diag([*SPACES[LPS], 1]) @ header.affine
    directions = [_vector(affine[:3, axis]) for axis in range(3)]
    kinds = ["domain"] * 3
    if array.ndim == 4:
        directions, kinds = [*directions, "none"], [*kinds, "list"]
    lines = [
        "NRRD0005",
        f"type: {TYPES[array.dtype.name]}",
        f"dimension: {array.ndim}",
        f"space: {LPS}",
        f"sizes: {' '.join(map(str, (*header.shape, *array.shape[:-3])))}",
        f"space directions: {' '.join(directions)}",
        f"kinds: {' '.join(kinds)}",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(affine[:3, 3])}",
        *(f"{key}:={_escaped(value)}" for key, value in (pairs or {}).items()),
    ]
    packed = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    little = array.dtype.newbyteorder("<")
    with written_whole(path) as part, part.open("wb") as file:
        file.write("\n".join([*lines, "", ""]).encode("utf-8"))
        for volume in volumes_of(array):
            for plane in np.moveaxis(volume, -1, 0):  # in the file's order, x fastest
                file.write(packed.compress(plane.astype(little, copy=False).tobytes(order="F")))
        file.write(packed.flush())


def _vector(numbers: NDArray[np.float64]) -> str:
    return f"({','.join(f'{number:.17g}' for number in numbers + 0.0)})"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def unescaped(value: str) -> str:
    """Return a value of a key/value pair without the escapes of :func:`write`."""
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], value)
