"""NIfTI files, read with care: headers are checked first, and any damage becomes a UserError.

NIfTI scans as training cases: stored intensities and classes in canonical orientation.
"""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem, UserError, raise_all
from crossview.data.io.classes import class_values
from crossview.data.io.h5 import LARGEST

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


SUFFIXES = (".nii.gz", ".nii")


FLATTEST = 1e-3
"""Smallest voxel volume, as a share of the product of its sides, of a valid affine."""


TOLERANCE = 0.1
"""Largest accepted distance between the corners of two grids, in sides of the smallest voxel."""


@dataclass(frozen=True)
class Grid:
    """A scan's geometry from its header.

    shape: (X, Y, Z). channels: size of the fourth axis. affine: (4, 4), voxel to mm.
    """

    shape: tuple[int, ...]
    channels: int
    affine: NDArray[np.float64]

    def corners(self) -> NDArray[np.float64]:
        """Return the corners, (8, 3), in mm."""
        ends = np.array(list(product(*((0, side - 1) for side in self.shape))), dtype=np.float64)
        corners: NDArray[np.float64] = ends @ self.affine[:3, :3].T + self.affine[:3, 3]
        return corners


def read_grid(path: Path) -> Grid:
    """Read only the header. UserError if it is missing, damaged or has an invalid geometry."""
    return grid_of(open_nifti(path), path)


def grid_of(image: Nifti1Image, path: Path) -> Grid:
    """Return the geometry of an opened file. UserError if it is invalid."""
    shape = tuple(int(side) for side in image.shape)
    affine = np.asarray(image.affine, dtype=np.float64)
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    flat = np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) < FLATTEST * np.prod(
        sides
    )
    written = sides_without_affine(image, path)
    if not np.isfinite(affine).all() or min(*sides, *written) <= 0 or flat:
        sides = np.minimum(sides, written)
        found = (
            "axes in one plane"
            if flat and min(sides) > 0
            else f"voxel spacing {', '.join(f'{side:g}' for side in sides)} mm"
        )
        raise UserError(
            Problem(
                "the header contains an invalid geometry",
                str(path),
                found,
                "three independent axes with a spacing above 0",
                "correct the affine in the header, or export the scan again",
            )
        )
    beyond = [side for side in shape[3:] if side != 1]
    return Grid((*shape, 1, 1)[:3], beyond[0] if beyond else 1, affine)


def read_volume(files: Sequence[Path], channels: int, axes: Sequence[int]) -> NDArray[np.float32]:
    """Return the scaled intensities, float32 (C, *S).

    From one file (channels in its fourth axis) or from one file per channel. axes: the canonical
    axes (right, anterior, superior) in the order in which they are returned. UserError if a file is
    missing, damaged or too large, has a wrong shape or number of channels, or NaN, or if the
    channels are on different grids.
    """
    opened = [open_nifti(file) for file in files]
    grids = [grid_of(image, file) for image, file in zip(opened, files, strict=True)]
    for grid, file in zip(grids[1:], files[1:], strict=True):
        check_same_grid(
            grids[0], grid, files[0], file, "the channels of a scan", "resample them to one grid"
        )
    in_one_file = channels if len(files) == 1 else 1
    turn = Orientation.canonical(grids[0].affine, axes).apply
    parts = [
        turn(part)
        for image, file in zip(opened, files, strict=True)
        for part in read_channels(image, file, in_one_file)
    ]
    # Files are stored x first; C order makes every later pass over the array fast.
    return np.stack(parts, out=np.empty((len(parts), *parts[0].shape), np.float32))


def read_label(path: Path, scan: Path, axes: Sequence[int]) -> NDArray[np.uint8]:
    """Return the classes, uint8 (*S), in the scan's orientation.

    UserError as for a volume, and if the grid differs from the scan's or values are fractions.
    """
    image, grid = open_nifti(path), read_grid(scan)
    problems: list[Problem] = []
    try:
        check_same_grid(
            grid,
            grid_of(image, path),
            scan,
            path,
            "scan and label",
            "use the label that belongs to this scan, or resample the label",
        )
    except UserError as error:
        problems += error.problems
    try:
        values = Orientation.canonical(grid.affine, axes).apply(
            class_values(read_channels(image, path, 1, "label")[0], path)
        )
    except UserError as error:
        raise UserError([*problems, *error.problems]) from None
    raise_all(problems)
    return np.ascontiguousarray(values)


def check_same_grid(first: Grid, second: Grid, one: Path, other: Path, what: str, fix: str) -> None:
    """Raise UserError if two grids differ.

    They differ in shape, or in any corner by more than a tenth of the smallest voxel side.
    """
    if first.shape != second.shape:
        found = ", ".join(
            f"{file.parent.name}/{file.name} {_sides(grid)}"
            for grid, file in ((first, one), (second, other))
        )
        raise UserError(
            Problem(f"{what} differ in shape", str(other), found, "the same shape", fix)
        )
    smallest = float(np.linalg.norm(first.affine[:3, :3], axis=0).min())
    apart = float(np.linalg.norm(first.corners() - second.corners(), axis=1).max())
    if apart > TOLERANCE * smallest:
        found = f"corners up to {apart:.3g} mm apart"
        expected = f"at most {TOLERANCE * smallest:.2g} mm, a tenth of the smallest voxel side"
        raise UserError(
            Problem(f"{what} are not aligned in space", str(other), found, expected, fix)
        )


def _sides(grid: Grid) -> str:
    return " x ".join(str(side) for side in grid.shape)
