"""NIfTI files, read with care: headers are checked first, and any damage becomes a UserError."""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossview.data.sources.h5 import LARGEST
from crossview.errors import Problem, UserError

Number = TypeVar("Number", bound=np.generic)
Nifti1Image = Any
"""Alias, because nibabel is only partly typed."""

GZIP = b"\x1f\x8b"
"""First bytes of a gzip file."""
DEFLATE_LIMIT = 1032
"""Most bytes that one byte of a gzip file can expand to."""


def open_nifti(path: Path) -> Nifti1Image:
    """Return the opened file; no voxel is read yet.

    Raises:
        UserError: If the file is missing, damaged or not a NIfTI file.
    """
    import nibabel

    # nibabel logs odd headers without naming the file.
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    try:
        image: Nifti1Image = nibabel.load(path)
    except FileNotFoundError:
        raise UserError(
            Problem(
                "the file is missing", str(path), "no such file", "a NIfTI file", "check the path"
            )
        ) from None
    except Exception as error:  # nibabel raises a dozen types of error for damaged files
        raise _damaged(path, error) from error
    if not isinstance(image, nibabel.nifti1.Nifti1Image):
        raise UserError(
            Problem(
                "the file is not a NIfTI file",
                str(path),
                type(image).__name__,
                ".nii or .nii.gz",
                "convert the file to NIfTI",
            )
        )
    return image


def sides_without_affine(image: Nifti1Image, path: Path) -> NDArray[np.float64]:
    """Return the three voxel sides as stored in the header; nibabel would turn a 0 into 1.

    They are infinite if the header holds an affine matrix instead.

    Raises:
        UserError: If the file is damaged.
    """
    if int(image.header["sform_code"]) > 0:
        return np.full(3, math.inf)
    try:
        with (gzip.open if is_zipped(path) else open)(path, "rb") as stream:
            written = type(image.header).from_fileobj(stream, check=False)
    except Exception as error:
        raise _damaged(path, error) from error
    return np.abs(np.asarray(written["pixdim"][1:4], dtype=np.float64))


def is_zipped(path: Path) -> bool:
    """True if the file name ends in .gz."""
    return path.suffix.lower() == ".gz"


def read_channels(
    image: Nifti1Image, path: Path, channels: int, noun: str = "scan"
) -> list[NDArray[np.float32]]:
    """Return the scaled values of each channel of a volume or of a fourth axis of channels.

    The header is checked before memory is allocated; a gzip file's checksum is checked too.

    Args:
        image: The opened file.
        path: Its path.
        channels: Number of channels to expect.
        noun: Kind of file, for messages.

    Returns:
        One array per channel, float32 (X, Y, Z).

    Raises:
        UserError: If the shape differs, or the file is too large, damaged or contains NaN.
    """
    shape = tuple(int(side) for side in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 3:
        shape = (*shape, 1)
    _check_header(image, shape, path, channels)
    try:
        with np.errstate(over="ignore"):
            values = _values(image, path).reshape(shape)
    except MemoryError:
        raise
    except Exception as error:  # truncated or damaged streams raise EOF, zlib, OS and value errors
        raise _damaged(path, error) from error
    check_finite(values, path, noun)
    return list(np.moveaxis(values, -1, 0))


def _values(image: Nifti1Image, path: Path) -> NDArray[np.float32]:
    """Return the scaled values. Read a gzip file to its end, so that its checksum is verified.

    nibabel stops at the last voxel, before the checksum and the length.
    """
    if not is_zipped(path):
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
        more = (
            f" and a fourth of {channels} channels, or one file per channel (_0000, _0001, ...)"
            if channels > 1
            else ""
        )
        fix = (
            "give every scan the same channels (for prediction: those of the training scans); "
            "split a series into single volumes"
        )
        raise UserError(
            Problem(
                "the scan has an unexpected shape",
                str(path),
                str(image.shape),
                f"three spatial axes{more}",
                fix,
            )
        )
    dtype, voxels, size = image.get_data_dtype(), math.prod(shape), path.stat().st_size
    if voxels > LARGEST:
        raise UserError(
            Problem(
                "the header declares more voxels than any scan has",
                str(path),
                f"{voxels:,} voxels",
                f"at most {LARGEST:,}",
                "crop the scan or restore the file",
            )
        )
    if dtype.kind not in "iuf":
        raise UserError(
            Problem(
                "the voxel values are not plain numbers",
                str(path),
                str(dtype),
                "one number per voxel",
                "convert the file to one number per voxel",
            )
        )
    if voxels * dtype.itemsize > size * (DEFLATE_LIMIT if is_zipped(path) else 1):
        found = f"{size:,} bytes for {voxels:,} voxels of {dtype}"
        raise UserError(
            Problem(
                "the file is too short for its header",
                str(path),
                found,
                "a complete file",
                "copy it again from its source",
            )
        )


def _damaged(path: Path, error: Exception) -> UserError:
    found = f"{type(error).__name__}: {error}".splitlines()[0]
    with suppress(OSError), path.open("rb") as file:
        begin = file.read(348)
        zipped = begin.startswith(GZIP)
        if zipped != is_zipped(path) and (
            zipped or begin[344:346] == b"n+" or begin[4:6] == b"n+"
        ):  # NIfTI 1, NIfTI 2
            name = path.name + ".gz" if zipped else path.name[: -len(".gz")]
            what, fix = (
                "compressed" if zipped else "not compressed",
                f"rename it to {name} if it is a NIfTI file",
            )
            return UserError(
                Problem(f"the file is {what}, but its name says otherwise", str(path), fix=fix)
            )
    if "not recognized" in found or "not supported" in found:
        return UserError(
            Problem(
                "the data type of the file is not supported",
                str(path),
                found,
                "int16, float32, ...",
                "convert the file to one of these",
            )
        )
    return UserError(
        Problem(
            "the file is cut off, damaged or not a NIfTI file",
            str(path),
            found,
            "a complete file",
            "copy it again from its source",
        )
    )


def check_finite(image: NDArray[np.float32], path: Path, noun: str = "scan") -> None:
    """Raise UserError if an image contains NaN or infinity."""
    # The sum is finite unless a value is not (or the sum overflows): one pass, and no array of
    # booleans for a clean image.
    with np.errstate(invalid="ignore"):
        total = image.sum(dtype=np.float64)
    if not np.isfinite(total) and (bad := int(image.size - np.isfinite(image).sum())):
        fix = f"repair the {noun}, for example by setting these voxels to the background value"
        raise UserError(
            Problem(
                f"the {noun} contains values that are not numbers",
                str(path),
                f"{bad} NaN or infinite voxels",
                "finite values",
                fix,
            )
        )


@dataclass(frozen=True)
class Orientation:
    """The order and direction of a NIfTI array's spatial axes as a model sees them.

    Attributes:
        axes: For each axis of the model, the axis of the array.
        flips: For each axis of the model, True if it is reversed.
    """

    axes: tuple[int, ...]
    flips: tuple[bool, ...] = (False, False, False)

    @classmethod
    def canonical(
        cls, affine: NDArray[np.float64], order: Sequence[int] = (0, 1, 2)
    ) -> Orientation:
        """Return the orientation towards right, anterior and superior.

        For an oblique or sheared affine it is the nearest one that turns by 90 degrees and flips
        can reach. For an affine without three directions the axes stay as stored.

        Args:
            affine: Voxel-to-world matrix (4, 4).
            order: Order of right, anterior and superior among the axes.
        """
        from nibabel.orientations import io_orientation

        # A row per array axis: the nearest world axis, and 1 or -1.
        world = io_orientation(affine)  # type: ignore[no-untyped-call]
        if not np.isfinite(world).all():
            return cls(tuple(order))
        stored = {int(towards): axis for axis, towards in enumerate(world[:, 0])}
        axes = tuple(stored[towards] for towards in order)
        return cls(axes, tuple(bool(world[axis, 1] < 0) for axis in axes))

    def apply(self, array: NDArray[Number]) -> NDArray[Number]:
        """Return a view of a stored array (..., X, Y, Z) as the model sees it."""
        leading = array.ndim - 3
        turned = array.transpose(*range(leading), *(leading + axis for axis in self.axes))
        result: NDArray[Number] = turned[self._reversed()]
        return result

    def undo(self, array: NDArray[Number]) -> NDArray[Number]:
        """Return a view of an array (..., X, Y, Z) of the model as it is stored."""
        leading = array.ndim - 3
        stored: NDArray[Number] = array[self._reversed()]
        return stored.transpose(
            *range(leading), *(leading + int(axis) for axis in np.argsort(self.axes))
        )

    def spacing(self, affine: NDArray[np.float64]) -> tuple[float, ...]:
        """Return the spacing in mm in the model's order: the lengths of the affine's columns."""
        sides = np.linalg.norm(affine[:3, :3], axis=0)
        return tuple(float(sides[axis]) for axis in self.axes)

    def affine(self, affine: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
        """Return the affine (4, 4) of the array as the model sees it.

        ``affine`` and ``shape`` (X, Y, Z) are those of the stored array.
        """
        to_stored = np.zeros((4, 4))
        to_stored[3, 3] = 1
        for axis, (stored, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            to_stored[stored, axis] = -1 if flip else 1
            to_stored[stored, 3] = shape[stored] - 1 if flip else 0
        turned: NDArray[np.float64] = affine @ to_stored
        return turned

    def _reversed(self) -> tuple[Any, ...]:
        return (..., *(slice(None, None, -1 if flip else 1) for flip in self.flips))
