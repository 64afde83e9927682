"""Volumes of any format: scans in one or several files, and labels on the grid of their scan."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem, UserError, fail, raise_all
from crossview.data.io.classes import class_values
from crossview.data.io.geometry import Header
from crossview.data.io.scan import COPY_AGAIN, LARGEST, Scan

SMALLEST = 1e-12
"""Side of a voxel in mm, a thousandth of an atom; its inverse is as far beyond the largest."""

FLATTEST = 1e-3
"""Smallest voxel volume, as a share of the product of its sides, of a valid affine."""

DEFLATE_LIMIT = 1032
"""Most bytes that one byte of a gzip or zlib stream can expand to."""


class Volume(Protocol):
    """An opened file of a volume: its header can be read, its voxels are not read yet."""

    @property
    def header(self) -> Header:
        """The header. UserError for an invalid geometry."""
        ...

    @property
    def step(self) -> float:
        """Distance between neighbouring values, for whole numbers with a scale factor; else 0."""
        ...

    def values(self, channels: int, noun: str = "scan") -> NDArray[np.float32]:
        """Return the values, float32 (C, X, Y, Z).

        The header is checked before memory is allocated. UserError if the number of axes or
        channels differs, or the file is too large, damaged or contains NaN.
        """
        ...


Opener = Callable[[Path], Volume]
"""Opens a file of one format. UserError if it is missing, damaged or of another format."""


def read(opened: Opener, files: Sequence[Path], channels: int) -> Scan:
    """Read a scan from one file or from one file per channel.

    UserError if a file is missing, damaged or too large, has a wrong shape or number of channels,
    an invalid geometry or NaN, or if the channels are on different grids. Channels that are stored
    in another order or direction of axes are turned to the first one's.
    """
    volumes = [opened(file) for file in files]
    headers = [volume.header for volume in volumes]
    fix = "resample them to one grid"
    turns = [
        headers[0].turn_of(header, files[0], file, "the channels of a scan", fix)
        for header, file in zip(headers[1:], files[1:], strict=True)
    ]
    in_one_file = channels if len(files) == 1 else 1
    parts = [volume.values(in_one_file) for volume in volumes]
    parts[1:] = [turn.apply(part) for turn, part in zip(turns, parts[1:], strict=True)]
    return Scan(parts[0] if len(parts) == 1 else np.concatenate(parts), headers[0])


def read_label(opened: Opener, path: Path, scan: Header, file: Path) -> NDArray[np.uint8]:
    """Return the classes as the scan is stored, uint8 (X, Y, Z).

    ``file`` is the scan's, for messages. UserError as for a scan, and if the grid differs from the
    scan's or values are fractions. A label whose axes are stored in another order or direction
    than the scan's is turned.
    """
    problems: list[Problem] = []
    label, turn = opened(path), None
    try:
        fix = "use the label that belongs to this scan, or resample the label"
        turn = scan.turn_of(label.header, file, path, "scan and label", fix)
    except UserError as error:
        problems += error.problems
    try:
        _check_one_volume(label, path)
        classes = class_values(label.values(1, "label")[0], path, label.step)
    except UserError as error:
        raise UserError([*problems, *error.problems]) from None
    raise_all(problems)
    return classes if turn is None else turn.apply(classes)


def _check_one_volume(label: Volume, path: Path) -> None:
    """Raise UserError for a label of several volumes, such as one per class."""
    try:
        header = label.header
    except UserError:
        return  # an invalid geometry is told already
    if header.channels > 1:
        fail(
            "the label has an unexpected shape",
            path,
            found=(*header.shape, header.channels),
            expected="one number per voxel",
            fix="save one volume of class numbers, 0 (background), 1, 2, ..., not one per class",
        )


def is_valid(affine: NDArray[np.float64]) -> bool:
    """True if an affine has three independent directions and voxels of a possible size."""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or sides.min() < SMALLEST or sides.max() > 1 / SMALLEST:
        return False
    return bool(abs(np.linalg.det(affine[:3, :3])) >= FLATTEST * np.prod(sides))


def check_geometry(
    affine: NDArray[np.float64], path: Path, written: NDArray[np.float64] | float = math.inf
) -> None:
    """Raise UserError for an affine without three directions, or a voxel side of 0.

    written: the voxel sides where the header states them beside the affine.
    """
    if is_valid(affine) and np.min(written) > 0:
        return
    sides = np.minimum(np.linalg.norm(affine[:3, :3], axis=0), written)
    in_a_plane = np.isfinite(affine).all() and SMALLEST <= min(sides) <= max(sides) < 1 / SMALLEST
    spacing = f"voxel spacing {', '.join(f'{side:g}' for side in sides)} mm"
    fail(
        "the header contains an invalid geometry",
        path,
        found="axes in one plane" if in_a_plane else spacing,
        expected="three independent axes with a spacing above 0",
        fix="correct the affine in the header, or export the scan again",
    )


def check_stored(
    path: Path,
    shape: Sequence[int],
    channels: int,
    dtype: np.dtype[Any],
    *,
    stored: Sequence[int],
    most: float,
) -> None:
    """Raise UserError unless a file can hold a volume of so many channels.

    Args:
        path: The file.
        shape: (X, Y, Z, C) by its header.
        channels: The number of channels that is wanted.
        dtype: Of a stored number.
        stored: All axes that the header states, for messages.
        most: Most bytes of voxels that a file of this size can hold.
    """
    if len(shape) != 4 or min(shape) < 1 or shape[-1] != channels:
        more = f" and a fourth of {channels} channels, or one file per channel (_0000, ...)"
        fail(
            "the scan has an unexpected shape",
            path,
            found=tuple(stored),
            expected=f"three spatial axes{more if channels > 1 else ''}",
            fix="save a 2D image as PNG or TIFF, or as a volume of one slice (X, Y, 1)"
            if len(stored) < 3
            else "give every scan the same channels, as many as dataset.json names (for "
            "prediction: those of the training scans); split a series into single volumes",
        )
    voxels = math.prod(shape)
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
    if voxels * dtype.itemsize > most:
        fail(
            "the file is too short for its header",
            path,
            found=f"{path.stat().st_size:,} bytes for {voxels:,} voxels of {dtype}",
            expected="a complete file",
            fix=COPY_AGAIN,
        )
