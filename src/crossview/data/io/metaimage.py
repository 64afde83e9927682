"""MetaImage volumes (.mha, .mhd): a text header, and the voxels after it or in a file of their own.

Coordinates are towards left, posterior and superior as in ITK; all geometry here is towards right,
anterior and superior, as in NIfTI.
"""

from __future__ import annotations

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
from crossview.data.io.geometry import Header
from crossview.data.io.scan import check_finite
from crossview.data.io.volume_file import DEFLATE_LIMIT, check_geometry, check_stored
from crossview.data.io.volumes import Stored

SUFFIXES = (".mha", ".mhd")

TYPES = {
    "CHAR": "i1",
    "UCHAR": "u1",
    "SHORT": "i2",
    "USHORT": "u2",
    "INT": "i4",
    "UINT": "u4",
    "LONG": "i4",
    "ULONG": "u4",
    "LONG_LONG": "i8",
    "ULONG_LONG": "u8",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Between coordinates of MetaImage and those towards right, anterior and superior."""

EXPORT = "export it again, for example from 3D Slicer or ITK-SNAP, or as NIfTI"

LONGEST = 2**20
"""Bytes of a header: a damaged one could go on to the end of the file."""

LAST = "ElementDataFile"
"""The last key of every header."""


@dataclass(frozen=True, eq=False)
class MetaVolume:
    """An opened MetaImage file.

    Attributes:
        path: The file.
        fields: The values of its header by key.
        start: Bytes of the header.
    """

    path: Path
    fields: Mapping[str, str]
    start: int

    step = 0.0

    def _numbers(self, *keys: str) -> NDArray[np.float64] | None:
        """Return the numbers of the first of these keys that the header has."""
        found = next((self.fields[key] for key in keys if key in self.fields), None)
        return None if found is None else np.array(found.split(), dtype=np.float64)

    def _is(self, *keys: str) -> bool:
        return any(self.fields.get(key, "").lower() in ("true", "1") for key in keys)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """(X, Y, Z, C)."""
        sides = tuple(map(int, self.fields["DimSize"].split()))
        if len(sides) != 3:
            fail(
                "the scan has an unexpected shape",
                self.path,
                found=sides,
                expected="three axes in space",
                fix="split a series into single volumes; export a slice as PNG or TIFF",
            )
        return (*sides, int(self.fields.get("ElementNumberOfChannels", 1)))

    @cached_property
    def header(self) -> Header:
        with damage_named(self.path):
            shape, spacing = self.shape, self._numbers("ElementSpacing", "ElementSize")
            if spacing is None:
                fail(
                    "the MetaImage file has no voxel spacing",
                    self.path,
                    expected="ElementSpacing in its header",
                    fix=EXPORT,
                )
            unit = self.fields.get("DistanceUnits", "mm").strip("?") or "mm"
            if unit != "mm":
                fail("the MetaImage file is not in millimetres", self.path, found=unit, fix=EXPORT)
            rows = self._numbers("TransformMatrix", "Rotation", "Orientation")
            origin = self._numbers("Offset", "Position", "Origin")
            affine = np.eye(4)
            # A row per axis: its direction.
            axes = np.eye(3) if rows is None else rows.reshape(3, 3).T
            affine[:3, :3] = axes * spacing.reshape(3)
            affine[:3, 3] = 0 if origin is None else origin.reshape(3)
            affine = LPS @ affine
            check_geometry(affine, self.path)
            return Header(shape[:3], shape[3], affine, self)

    def values(self, channels: int, noun: str = "scan") -> NDArray[np.float32]:
        with damage_named(self.path):
            values = self._stored(channels).astype(np.float32)
        check_finite(values, self.path, noun)
        return values

    def _stored(self, channels: int) -> NDArray[Any]:
        """Return the numbers as stored, (C, X, Y, Z)."""
        kind = self.fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")
        big = self._is("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
        dtype = np.dtype(TYPES[kind]).newbyteorder(">" if big else "<")
        file, start = self._data()
        binary = self.fields.get("BinaryData", "True").lower() in ("true", "1")
        zipped = self._is("CompressedData")
        factor = DEFLATE_LIMIT if zipped else 1 if binary else dtype.itemsize
        most = file.stat().st_size * factor
        check_stored(self.path, self.shape, channels, dtype, stored=self.shape, most=most)
        voxels = int(np.prod(self.shape))
        size = voxels * dtype.itemsize
        with file.open("rb") as opened:
            if start < 0:
                start = file.stat().st_size - size
            opened.seek(start)
            stored = opened.read() if zipped or not binary else opened.read(size)
        if zipped:
            # To the end of the stream, where its checksum is.
            unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
            stored = unpacking.decompress(stored, size + 1)
            if not unpacking.eof:
                raise ValueError("the compressed voxels are cut off")
        if binary and len(stored) != size:
            raise ValueError(f"{len(stored):,} of {size:,} bytes of voxels are there")
        flat = np.frombuffer(stored, dtype) if binary else np.array(stored.split()[:voxels], dtype)
        # Channels are next to each other, and x runs fastest.
        x, y, z, _ = self.shape
        return flat.reshape(z, y, x, channels).transpose(3, 2, 1, 0)

    def _data(self) -> tuple[Path, int]:
        """Return the file of the voxels and where they begin in it, -1 for at its end."""
        name = self.fields[LAST]
        if name.upper() == "LOCAL":
            return self.path, self.start
        if name.split()[0] == "LIST" or "%" in name:
            fail(
                "the slices of the MetaImage file are files of their own",
                self.path,
                found=f"{LAST} = {name}",
                expected="all voxels in one file",
                fix=EXPORT,
            )
        file = self.path.parent / name
        if not file.is_file():
            fail(
                "the file with the voxels is missing",
                self.path,
                found=f"no file {file}",
                expected="the file that the header names, beside it",
                fix="copy it there, or save the scan as one .mha file",
            )
        return file, int(self.fields.get("HeaderSize", 0))


def opened(path: Path) -> MetaVolume:
    """Open a file. UserError if it is missing or damaged, or is not a MetaImage file."""
    with damage_named(path), path.open("rb") as file:
        fields: dict[str, str] = {}
        while LAST not in fields:
            line = file.readline(LONGEST)
            key, equals, value = line.decode("utf-8", "replace").partition("=")
            if not equals or file.tell() > LONGEST:
                raise ValueError(f"no header of MetaImage in the first {file.tell():,} bytes")
            fields[key.strip()] = value.strip()
        return MetaVolume(path, fields, file.tell())


def damage_named(path: Path) -> AbstractContextManager[None]:
    """Turn any error of reading a file into a UserError that names the file."""
    return scan.damage_named(path, "a MetaImage file")


def write(path: Path, arrays: Mapping[str, Stored], header: Header) -> None:
    """Write one array (X, Y, Z) or (K, X, Y, Z) on the grid of a scan of any format."""
    # Channels are next to each other, so all of them are needed at once.
    (array,) = map(np.asarray, arrays.values())
    assert header.affine is not None  # volumes have one
    affine = LPS @ header.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    names = {np.dtype(dtype): name for name, dtype in reversed(TYPES.items())}
    channels = array if array.ndim == 4 else array[None]
    little = channels.astype(array.dtype.newbyteorder("<"), copy=False)
    packed = zlib.compress(little.transpose(3, 2, 1, 0).tobytes(), 1)
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {len(packed)}",
        f"TransformMatrix = {_listed((affine[:3, :3] / spacing).T.ravel())}",
        f"Offset = {_listed(affine[:3, 3])}",
        f"ElementSpacing = {_listed(spacing)}",
        f"DimSize = {' '.join(map(str, channels.shape[1:]))}",
        *([f"ElementNumberOfChannels = {len(channels)}"] if array.ndim == 4 else []),
        f"ElementType = MET_{names[array.dtype]}",
        f"{LAST} = LOCAL",
    ]
    with written_whole(path) as part, part.open("wb") as file:
        file.write("\n".join([*lines, ""]).encode() + packed)


def _listed(numbers: NDArray[np.float64]) -> str:
    return " ".join(f"{number:.17g}" for number in numbers + 0.0)
