"""NIfTI files as stored: opened with every check, placed in space in mm, read and written."""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from crossview.core.errors import fail
from crossview.core.files import written_whole
from crossview.data.io import scan
from crossview.data.io.volume_file import DEFLATE_LIMIT, check_stored

GZIP = b"\x1f\x8b"
"""First bytes of a gzip file."""

MILLIMETRES = {1: 1e3, 3: 1e-3}
"""Millimetres per unit, for the codes of ``xyzt_units`` that are neither mm nor unknown."""

RESET = {
    **{"cal_min": 0, "cal_max": 0, "intent_code": 0, "intent_name": b"", "descrip": b"crossview"},
    **{"aux_file": b""},
}
"""Header fields that describe a scan's intensities or bear free text, as a prediction has them."""

OLD_TEXT = ("db_name", "data_type")
"""Fields of free text that NIfTI-1 keeps for older programs."""

SCANNER = 1
"""Code of a form whose coordinates are those of the scanner."""


@dataclass(frozen=True, eq=False)
class NiftiFile:
    """An opened file: its header is checked, its voxels are not read yet.

    Attributes:
        path: The file.
        header: nibabel's header, with a quaternion that nibabel accepts.
        image_class: nibabel's class of such files.
        sides: The voxel sides as stored, in the header's unit. The sform has its own.
    """

    path: Path
    header: Any
    image_class: Any
    sides: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without the empty axes of a vector image (X, Y, Z, 1, C) and after the last."""
        space, beyond = self.stored_shape[:3], self.stored_shape[3:]
        return space + tuple(side for side in beyond if side != 1)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return tuple(int(side) for side in self.header.get_data_shape())

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.header.get_data_dtype()
        return dtype

    @property
    def step(self) -> float:
        """Distance between neighbouring values, for whole numbers with a scale factor; else 0."""
        slope = self.header.get_slope_inter()[0]
        return 0.0 if slope is None or self.dtype.kind not in "iu" else abs(float(slope))

    @property
    def affines(self) -> dict[str, NDArray[np.float64]]:
        """The voxel-to-world matrices of the header in mm, by form: first the one that is used.

        Programs differ: nibabel follows the sform, ITK the qform unless the sform's code is 1. A
        header without a form is a centred grid for nibabel, for ITK one that begins at 0. nibabel
        ignores the unit and hands the bare numbers on.
        """
        forms: dict[str, NDArray[np.float64]] = {}
        if int(self.header["sform_code"]) > 0:
            forms["sform"] = self.header.get_sform()
        if int(self.header["qform_code"]) > 0:
            forms["qform"] = self.header.get_qform()
        if not forms:
            forms["no form"] = self.header.get_base_affine()
            zooms = np.asarray(self.header["pixdim"][1:4], dtype=np.float64)
            forms["ITK's"] = np.diag([*(zooms * (-1, -1, 1)), 1])
        forms = {name: np.asarray(form, dtype=np.float64) for name, form in forms.items()}
        unit = MILLIMETRES.get(int(self.header["xyzt_units"]) & 7, 1.0)
        in_mm = {name: form * [[unit], [unit], [unit], [1]] for name, form in forms.items()}
        ignored = {f"{name} without its unit": form for name, form in forms.items()}
        return in_mm if unit == 1 else in_mm | ignored

    def values(self) -> NDArray[np.float32]:
        """Return the scaled values. Read a gzip file to its end, so that its checksum is verified.

        nibabel stops at the last voxel, before the checksum and the length.
        """
        from nibabel.arrayproxy import ArrayProxy

        with damage_named(self.path), stream(self.path) as voxels:
            stored: Any = ArrayProxy(voxels, self.header, mmap=False)  # type: ignore[no-untyped-call]
            values = np.asanyarray(stored, dtype=np.float32)
            while is_zipped(self.path) and voxels.read(1 << 20):
                pass
        return values

    def check(self, channels: int) -> None:
        """Raise UserError unless the file can hold a volume of so many channels."""
        shape = self.shape if len(self.shape) > 3 else (*self.shape, 1)
        most = self.path.stat().st_size * (DEFLATE_LIMIT if is_zipped(self.path) else 1)
        check_stored(self.path, shape, channels, self.dtype, stored=self.stored_shape, most=most)

    def write_like(
        self,
        path: Path,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        volumes: Iterable[NDArray[Any]],
    ) -> None:
        """Write volumes (X, Y, Z) with the geometry, units and version of this file.

        ``shape`` is (X, Y, Z), or (X, Y, Z, K) for K volumes.
        """
        written = self.header.copy()
        written.set_data_dtype(dtype)
        for field, value in RESET.items():
            written[field] = value
        for field in set(OLD_TEXT) & set(written.keys()):
            written[field] = b""
        written["pixdim"][4:] = 1
        # Without an affine, nibabel keeps the header's geometry: both forms and their codes.
        image = self.image_class(np.broadcast_to(np.zeros((), dtype), shape), None, written)
        _write(path, image, volumes)


def write_placed(
    path: Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    volumes: Iterable[NDArray[Any]],
    affine: NDArray[np.float64] | None,
) -> None:
    """Write volumes with a voxel-to-world matrix in mm, as both forms; otherwise `write_like`."""
    import nibabel

    none: Any = np.broadcast_to(np.zeros((), dtype), shape)
    image: Any = nibabel.Nifti1Image(none, affine)  # type: ignore[no-untyped-call]
    image.set_sform(affine, SCANNER)
    image.set_qform(affine, SCANNER)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = RESET["descrip"]
    _write(path, image, volumes)


def _write(path: Path, image: Any, volumes: Iterable[NDArray[Any]]) -> None:
    """Write the header of an image and the volumes (X, Y, Z) that are its voxels."""
    image.update_header()
    image.header.set_slope_inter(1, 0)
    kind = image.header.get_data_dtype()
    with written_whole(path) as part, part.open("wb") as raw:
        packed = (
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0)
            if is_zipped(path)
            else nullcontext(raw)
        )
        with packed as file:
            image.header.write_to(file)
            # Plane by plane in the file's order, x fastest: no second copy of a large map.
            for volume in volumes:
                for plane in np.moveaxis(volume, -1, 0):
                    file.write(plane.astype(kind, copy=False).tobytes(order="F"))


def opened(path: Path) -> NiftiFile:
    """Open a file. UserError if it is missing or damaged, or is not a NIfTI file."""
    import nibabel

    # nibabel logs odd headers without naming the file.
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    with damage_named(path):
        with stream(path) as file:
            block = file.read(nibabel.Nifti2Header.sizeof_hdr)
        for image_class in (nibabel.Nifti1Image, nibabel.Nifti2Image):
            kind: Any = image_class.header_class
            if kind.may_contain_header(block):
                header = kind(block[: kind.sizeof_hdr], check=False)
                if header["magic"] == kind.pair_magic:
                    raise ValueError("the header of a scan in two files (.hdr and .img)")
                sides = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
                _mend(header)
                header.check_fix()
                return NiftiFile(path, header, image_class, sides)
        raise ValueError(f"no header of NIfTI in the first {len(block)} bytes")


def _mend(header: Any) -> None:
    """Read a rounded quaternion, the sign of ``pixdim[0]`` and an intercept that is no number.

    ITK and the reference code do so. nibabel refuses a quaternion longer than 1 and such an
    intercept, and takes pixdim[0] = -2 for 1.
    """
    if not math.isfinite(header["scl_inter"]):
        header["scl_inter"] = 0
    quaternion = [float(header[f"quatern_{axis}"]) for axis in "bcd"]
    if (length := math.hypot(*quaternion)) > 1:
        for axis, part in zip("bcd", quaternion, strict=True):
            header[f"quatern_{axis}"] = part / length
    header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1


def is_zipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def stream(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked."""
    opener: Any = gzip.open if is_zipped(path) else open
    file: IO[bytes] = opener(path, "rb")
    return file


def damage_named(path: Path) -> AbstractContextManager[None]:
    """Turn any error of reading a file into a UserError that names the file."""
    return scan.damage_named(path, "a NIfTI file", _explain)


def _explain(path: Path, found: str) -> None:
    """Raise UserError with the reason why a file can't be read, if it is known."""
    with suppress(OSError), path.open("rb") as file:
        begin = file.read(348)
        zipped = begin.startswith(GZIP)
        nifti = begin[344:346] == b"n+" or begin[4:6] == b"n+"  # versions 1 and 2
        if zipped != is_zipped(path) and (zipped or nifti):
            name = path.name + ".gz" if zipped else path.name[: -len(".gz")]
            fail(
                f"the file is {'' if zipped else 'not '}compressed, but its name says otherwise",
                path,
                fix=f"rename it to {name} if it is a NIfTI file",
            )
    if "not recognized" in found or "not supported" in found:
        fail(
            "the data type of the file is not supported",
            path,
            found=found,
            expected="int16, float32, ...",
            fix="convert the file to one of these",
        )
