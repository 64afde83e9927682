"""NIfTI files read with care: what a header claims is checked first, and every damage is told in one way."""

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
"""nibabel is typed in part only."""

GZIP = b"\x1f\x8b"
"""How such a file begins."""
DEFLATE_LIMIT = 1032
"""The most bytes that one byte of a gzip file can stand for."""


def open_nifti(path: Path) -> Nifti1Image:
    """The header; no voxel is read yet. Raises UserError: missing, damaged, or no NIfTI file."""
    import nibabel

    logging.getLogger("nibabel.global").setLevel(
        logging.CRITICAL
    )  # it tells of odd headers without a file's name
    try:
        image: Nifti1Image = nibabel.load(path)
    except FileNotFoundError:
        raise UserError(
            Problem(
                "the file is missing", str(path), "nothing there", "a NIfTI file", "check the path"
            )
        ) from None
    except Exception as error:  # nibabel answers damaged files with a dozen types of error
        raise _damaged(path, error) from error
    if not isinstance(image, nibabel.nifti1.Nifti1Image):
        raise UserError(
            Problem(
                "not a NIfTI file",
                str(path),
                type(image).__name__,
                ".nii or .nii.gz",
                "convert it to NIfTI",
            )
        )
    return image


def sides_without_affine(image: Nifti1Image, path: Path) -> NDArray[np.float64]:
    """The three voxel sides as the header has them, where it holds no matrix in their place (then infinity): nibabel makes 1 of a 0.

    Raises UserError for a damaged file.
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
    """Whether the name says so."""
    return path.suffix.lower() == ".gz"


def read_channels(
    image: Nifti1Image, path: Path, channels: int, noun: str = "scan"
) -> list[NDArray[np.float32]]:
    """The scaled values of each channel, float32 (X, Y, Z), from a volume or a fourth axis of channels.

    What the header claims is checked before memory is asked for, and of a gzip file its checksum. noun: what the file is, for messages.
    Raises UserError: another shape, too large, damaged, NaN.
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
    except (
        Exception
    ) as error:  # a stream that is cut off or damaged ends in EOF, zlib, OS and value errors
        raise _damaged(path, error) from error
    check_finite(values, path, noun)
    return list(np.moveaxis(values, -1, 0))


def _values(image: Nifti1Image, path: Path) -> NDArray[np.float32]:
    """The scaled values. A gzip file is read to its end, where its checksum and its length stand: nibabel stops at the last voxel."""
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
    """Raises UserError unless the file can be a scan of ``channels`` channels with the claimed ``shape`` (X, Y, Z, channels)."""
    if len(shape) != 4 or min(shape) < 1 or shape[-1] != channels:
        more = (
            f" and {channels} channels in a fourth, or one file a channel (_0000, _0001, ...)"
            if channels > 1
            else ""
        )
        fix = "give every scan the same channels (to predict: those of the training scans), and a series volume by volume"
        raise UserError(
            Problem(
                "the scan has an unexpected shape",
                str(path),
                str(image.shape),
                f"three axes of a volume{more}",
                fix,
            )
        )
    dtype, voxels, size = image.get_data_dtype(), math.prod(shape), path.stat().st_size
    if voxels > LARGEST:
        raise UserError(
            Problem(
                "the header declares more than any scan",
                str(path),
                f"{voxels:,} voxels",
                f"at most {LARGEST:,}",
                "crop or restore it",
            )
        )
    if dtype.kind not in "iuf":
        raise UserError(
            Problem(
                "the scan's values are no plain numbers",
                str(path),
                str(dtype),
                "one number a voxel",
                "convert it",
            )
        )
    if voxels * dtype.itemsize > size * (DEFLATE_LIMIT if is_zipped(path) else 1):
        found = f"{size:,} bytes for {voxels:,} voxels of {dtype}"
        raise UserError(
            Problem(
                "the file is too short for its header",
                str(path),
                found,
                "a whole file",
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
                f"rename it to {name}, if it is a NIfTI file",
            )
            return UserError(
                Problem(f"the file is {what}, and its name says otherwise", str(path), fix=fix)
            )
    if "not recognized" in found or "not supported" in found:
        return UserError(
            Problem(
                "the file has a type of numbers that can't be read",
                str(path),
                found,
                "int16, float32 ...",
                "convert it",
            )
        )
    return UserError(
        Problem(
            "the file is cut off, damaged or no NIfTI file",
            str(path),
            found,
            "a whole file",
            "copy it again from its source",
        )
    )


def check_finite(image: NDArray[np.float32], path: Path, noun: str = "scan") -> None:
    """Raises UserError if an image holds NaN or infinity."""
    # The sum is finite unless a value is not (or the sum overflows): one pass, no array of booleans for a clean image.
    with np.errstate(invalid="ignore"):
        total = image.sum(dtype=np.float64)
    if not np.isfinite(total) and (bad := int(image.size - np.isfinite(image).sum())):
        fix = f"repair the {noun}, say by setting them to the background's value"
        raise UserError(
            Problem(
                f"the {noun} holds values that are no numbers",
                str(path),
                f"{bad} NaN or infinite voxels",
                "finite values",
                fix,
            )
        )


@dataclass(frozen=True)
class Orientation:
    """How the three spatial axes of a NIfTI array are brought into the order and direction a model sees, and back.

    axes: the array's axis that becomes each axis of the model. flips: which axes of the model are reversed on the way.
    """

    axes: tuple[int, ...]
    flips: tuple[bool, ...] = (False, False, False)

    @classmethod
    def canonical(
        cls, affine: NDArray[np.float64], order: Sequence[int] = (0, 1, 2)
    ) -> Orientation:
        """Towards right, anterior and superior, as near as turns by 90 degrees and flips come for an oblique or sheared affine (4, 4).

        order: which of these three comes first, second and third. An affine without three directions leaves the axes as stored.
        """
        from nibabel.orientations import io_orientation

        world = io_orientation(affine)  # type: ignore[no-untyped-call]  # a row an array axis: the world axis nearest to it, and 1 or -1
        if not np.isfinite(world).all():
            return cls(tuple(order))
        stored = {int(towards): axis for axis, towards in enumerate(world[:, 0])}
        axes = tuple(stored[towards] for towards in order)
        return cls(axes, tuple(bool(world[axis, 1] < 0) for axis in axes))

    def apply(self, array: NDArray[Number]) -> NDArray[Number]:
        """(..., X, Y, Z) as stored -> as the model sees it; a view."""
        leading = array.ndim - 3
        turned = array.transpose(*range(leading), *(leading + axis for axis in self.axes))
        result: NDArray[Number] = turned[self._reversed()]
        return result

    def undo(self, array: NDArray[Number]) -> NDArray[Number]:
        """The way back; a view."""
        leading = array.ndim - 3
        stored: NDArray[Number] = array[self._reversed()]
        return stored.transpose(
            *range(leading), *(leading + int(axis) for axis in np.argsort(self.axes))
        )

    def spacing(self, affine: NDArray[np.float64]) -> tuple[float, ...]:
        """Voxel sides in mm in the model's order: the lengths of the affine's columns."""
        sides = np.linalg.norm(affine[:3, :3], axis=0)
        return tuple(float(sides[axis]) for axis in self.axes)

    def affine(self, affine: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
        """The affine (4, 4) of the array as the model sees it; ``shape`` (X, Y, Z) and ``affine`` are those of the array as stored."""
        to_stored = np.zeros((4, 4))
        to_stored[3, 3] = 1
        for axis, (stored, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            to_stored[stored, axis] = -1 if flip else 1
            to_stored[stored, 3] = shape[stored] - 1 if flip else 0
        turned: NDArray[np.float64] = affine @ to_stored
        return turned

    def _reversed(self) -> tuple[Any, ...]:
        return (..., *(slice(None, None, -1 if flip else 1) for flip in self.flips))
