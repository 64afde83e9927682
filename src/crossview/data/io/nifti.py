"""NIfTI files, read with care: headers are checked first, and any damage becomes a UserError."""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from crossview.core.errors import Problem, UserError, fail, raise_all
from crossview.core.files import written_whole
from crossview.data.io.classes import class_values
from crossview.data.io.geometry import Header
from crossview.data.io.scan import COPY_AGAIN, LARGEST, Scan, check_finite, first_line
from crossview.data.io.volumes import Stored, volumes_of

SUFFIXES = (".nii.gz", ".nii")

GZIP = b"\x1f\x8b"
"""First bytes of a gzip file."""

DEFLATE_LIMIT = 1032
"""Most bytes that one byte of a gzip file can expand to."""

FLATTEST = 1e-3
"""Smallest voxel volume, as a share of the product of its sides, of a valid affine."""

RESET = {"cal_min": 0, "cal_max": 0, "intent_code": 0, "intent_name": b"", "descrip": b"crossview"}
"""Header fields that describe a scan's intensities, with their values for a prediction."""

Nifti1Image = Any
"""Alias, because nibabel is only partly typed."""


def read_header(path: Path) -> Header:
    """Read only the header. UserError if it is missing, damaged or has an invalid geometry."""
    return _header(_opened(path), path)


def _header(image: Nifti1Image, path: Path) -> Header:
    shape = tuple(int(side) for side in image.shape)
    affine = np.asarray(image.affine, dtype=np.float64)
    _check_geometry(affine, _sides_without_affine(image, path), path)
    beyond = [side for side in shape[3:] if side != 1]
    return Header((*shape, 1, 1)[:3], beyond[0] if beyond else 1, affine, image)


def read(files: Sequence[Path], channels: int) -> Scan:
    """Read a scan from one file (channels in its fourth axis) or from one file per channel.

    UserError if a file is missing, damaged or too large, has a wrong shape or number of channels,
    an invalid geometry or NaN, or if the channels are on different grids.
    """
    headers = [read_header(file) for file in files]
    for header, file in zip(headers[1:], files[1:], strict=True):
        headers[0].check_same_grid(
            header, files[0], file, "the channels of a scan", "resample them to one grid"
        )
    in_one_file = channels if len(files) == 1 else 1
    parts = [
        _values(header.native, file, in_one_file)
        for header, file in zip(headers, files, strict=True)
    ]
    return Scan(parts[0] if len(parts) == 1 else np.concatenate(parts), headers[0])


def read_label(path: Path, scan: Path) -> NDArray[np.uint8]:
    """Return the classes as stored, uint8 (X, Y, Z).

    UserError as for a scan, and if the grid differs from the scan's or values are fractions.
    """
    problems: list[Problem] = []
    of_scan, image = read_header(scan), _opened(path)
    try:
        fix = "use the label that belongs to this scan, or resample the label"
        of_scan.check_same_grid(_header(image, path), scan, path, "scan and label", fix)
    except UserError as error:
        problems += error.problems
    try:
        classes = class_values(_values(image, path, 1, "label")[0], path)
    except UserError as error:
        raise UserError([*problems, *error.problems]) from None
    raise_all(problems)
    return classes


def write(path: Path, arrays: Mapping[str, Stored], header: Header) -> None:
    """Write one array (X, Y, Z) or (K, X, Y, Z) with the geometry, units and version of a scan."""
    (array,) = arrays.values()
    # The first three axes of NIfTI are space, so the classes of a map come fourth.
    shape = (*header.shape, *array.shape[:-3])
    with written_whole(path) as part, part.open("wb") as raw:
        packed = (
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0)
            if _is_zipped(path)
            else nullcontext(raw)
        )
        with packed as stream:
            written = _header_for(header, shape, array.dtype)
            written.write_to(stream)
            kind = written.get_data_dtype()
            # Plane by plane in the file's order, x fastest: no second copy of a large map.
            for volume in volumes_of(array):
                for plane in np.moveaxis(volume, -1, 0):
                    stream.write(plane.astype(kind, copy=False).tobytes(order="F"))


def _header_for(header: Header, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    """Return the header of a prediction of ``shape`` on the grid of a scan."""
    written = header.native.header.copy()
    written.extensions.clear()
    written.set_data_offset(0)
    written.set_data_dtype(dtype)
    for field, value in RESET.items():
        written[field] = value
    written["pixdim"][4:] = 1
    # Without an affine, nibabel keeps the header's geometry: both forms and their codes.
    nothing = np.broadcast_to(np.zeros((), dtype), shape)
    image = type(header.native)(nothing, None, written)
    image.update_header()
    image.header.set_slope_inter(1, 0)
    return image.header


def _opened(path: Path) -> Nifti1Image:
    """Return the opened file; no voxel is read yet. UserError if it is not a NIfTI file."""
    import nibabel

    # nibabel logs odd headers without naming the file.
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    try:
        image: Nifti1Image = nibabel.load(path, mmap=False)
    except FileNotFoundError:
        fail(
            "the file is missing",
            path,
            found="no such file",
            expected="a NIfTI file",
            fix="check the path",
        )
    except Exception as error:  # nibabel raises a dozen types of error for damaged files
        _fail_damaged(path, error)
    if not isinstance(image, nibabel.nifti1.Nifti1Image):
        fail(
            "the file is not a NIfTI file",
            path,
            found=type(image).__name__,
            expected=".nii or .nii.gz",
            fix="convert the file to NIfTI",
        )
    return image


def _is_zipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _sides_without_affine(image: Nifti1Image, path: Path) -> NDArray[np.float64]:
    """Return the three voxel sides as stored in the header; nibabel would turn a 0 into 1.

    They are infinite if the header holds an affine matrix instead.
    """
    if int(image.header["sform_code"]) > 0:
        return np.full(3, math.inf)
    try:
        with (gzip.open if _is_zipped(path) else open)(path, "rb") as stream:
            written = type(image.header).from_fileobj(stream, check=False)
    except Exception as error:
        _fail_damaged(path, error)
    return np.abs(np.asarray(written["pixdim"][1:4], dtype=np.float64))


def _check_geometry(affine: NDArray[np.float64], written: NDArray[np.float64], path: Path) -> None:
    """Raise UserError for an affine without three directions, or a voxel side of 0."""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    finite = bool(np.isfinite(affine).all())
    flat = finite and abs(np.linalg.det(affine[:3, :3])) < FLATTEST * np.prod(sides)
    if not finite or min(*sides, *written) <= 0 or flat:
        sides = np.minimum(sides, written)
        spacing = f"voxel spacing {', '.join(f'{side:g}' for side in sides)} mm"
        fail(
            "the header contains an invalid geometry",
            path,
            found="axes in one plane" if flat and min(sides) > 0 else spacing,
            expected="three independent axes with a spacing above 0",
            fix="correct the affine in the header, or export the scan again",
        )


def _values(
    image: Nifti1Image, path: Path, channels: int, noun: str = "scan"
) -> NDArray[np.float32]:
    """Return the scaled values of an opened file, float32 (C, X, Y, Z).

    The header is checked before memory is allocated; a gzip file's checksum is checked too.
    UserError if the shape differs, or the file is too large, damaged or contains NaN.
    """
    shape = tuple(int(side) for side in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 3:
        shape = (*shape, 1)
    _check_header(image, shape, path, channels)
    try:
        with np.errstate(over="ignore"):
            values = _scaled(image, path).reshape(shape)
    except MemoryError:
        raise
    except Exception as error:  # truncated or damaged streams raise EOF, zlib, OS and value errors
        _fail_damaged(path, error)
    check_finite(values, path, noun)
    return np.moveaxis(values, -1, 0)


def _scaled(image: Nifti1Image, path: Path) -> NDArray[np.float32]:
    """Return the scaled values. Read a gzip file to its end, so that its checksum is verified.

    nibabel stops at the last voxel, before the checksum and the length.
    """
    if not _is_zipped(path):
        return np.asanyarray(image.dataobj, dtype=np.float32)
    from nibabel.fileholders import FileHolder

    with gzip.open(path) as stream:
        holder = FileHolder(fileobj=stream)
        values = np.asanyarray(
            type(image).from_file_map({"header": holder, "image": holder}).dataobj, dtype=np.float32
        )
        while stream.read(1 << 20):
            pass
    return values


def _check_header(image: Nifti1Image, shape: tuple[int, ...], path: Path, channels: int) -> None:
    """Raise UserError unless the file can hold a scan of ``shape`` (X, Y, Z, ``channels``)."""
    if len(shape) != 4 or min(shape) < 1 or shape[-1] != channels:
        more = f" and a fourth of {channels} channels, or one file per channel (_0000, _0001, ...)"
        fail(
            "the scan has an unexpected shape",
            path,
            found=image.shape,
            expected=f"three spatial axes{more if channels > 1 else ''}",
            fix="give every scan the same channels (for prediction: those of the training scans); "
            "split a series into single volumes",
        )
    dtype, voxels, size = image.get_data_dtype(), math.prod(shape), path.stat().st_size
    if voxels > LARGEST:
        fail(
            "the header declares more voxels than any scan has",
            path,
            found=f"{voxels:,} voxels",
            expected=f"at most {LARGEST:,}",
            fix="crop the scan or restore the file",
        )
    if dtype.kind not in "iuf":
        fail(
            "the voxel values are not plain numbers",
            path,
            found=dtype,
            expected="one number per voxel",
            fix="convert the file to one number per voxel",
        )
    if voxels * dtype.itemsize > size * (DEFLATE_LIMIT if _is_zipped(path) else 1):
        fail(
            "the file is too short for its header",
            path,
            found=f"{size:,} bytes for {voxels:,} voxels of {dtype}",
            expected="a complete file",
            fix=COPY_AGAIN,
        )


def _fail_damaged(path: Path, error: Exception) -> NoReturn:
    """Raise UserError with the most likely reason why nibabel refused a file."""
    found = first_line(error)
    with suppress(OSError), path.open("rb") as file:
        begin = file.read(348)
        zipped = begin.startswith(GZIP)
        nifti = begin[344:346] == b"n+" or begin[4:6] == b"n+"  # versions 1 and 2
        if zipped != _is_zipped(path) and (zipped or nifti):
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
    fail(
        "the file is cut off, damaged or not a NIfTI file",
        path,
        found=found,
        expected="a complete file",
        fix=COPY_AGAIN,
    )
