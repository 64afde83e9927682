"""NIfTI volumes and labels: places in space, channels, classes, and predictions on their grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem, UserError, fail, raise_all
from crossview.data.io.classes import class_values
from crossview.data.io.geometry import Header
from crossview.data.io.nifti_file import NiftiFile, damage_named, opened
from crossview.data.io.scan import Scan, check_finite
from crossview.data.io.volumes import Stored, volumes_of

SUFFIXES = (".nii.gz", ".nii")

SMALLEST = 1e-12
"""Side of a voxel in mm, a thousandth of an atom; its inverse is as far beyond the largest."""

FLATTEST = 1e-3
"""Smallest voxel volume, as a share of the product of its sides, of a valid affine."""


def read_header(path: Path) -> Header:
    """Read only the header. UserError if it is missing, damaged or has an invalid geometry."""
    return _header(opened(path))


def _header(file: NiftiFile) -> Header:
    with damage_named(file.path):
        affines, shape = file.affines, file.shape
        used, *others = affines
        _check_geometry(affines[used], file.sides, file.path)
        return Header(
            (*shape, 1, 1)[:3],
            shape[3] if len(shape) > 3 else 1,
            affines[used],
            file,
            other_affines={name: affines[name] for name in others if _is_valid(affines[name])},
            form=used,
        )


def read(files: Sequence[Path], channels: int) -> Scan:
    """Read a scan from one file (channels in its fourth axis) or from one file per channel.

    UserError if a file is missing, damaged or too large, has a wrong shape or number of channels,
    an invalid geometry or NaN, or if the channels are on different grids. Channels that are stored
    in another order or direction of axes are turned to the first one's.
    """
    headers = [read_header(file) for file in files]
    fix = "resample them to one grid"
    turns = [
        headers[0].turn_of(header, files[0], file, "the channels of a scan", fix)
        for header, file in zip(headers[1:], files[1:], strict=True)
    ]
    in_one_file = channels if len(files) == 1 else 1
    parts = [_values(header.native, in_one_file) for header in headers]
    parts[1:] = [turn.apply(part) for turn, part in zip(turns, parts[1:], strict=True)]
    return Scan(parts[0] if len(parts) == 1 else np.concatenate(parts), headers[0])


def read_label(path: Path, scan: Path) -> NDArray[np.uint8]:
    """Return the classes as the scan is stored, uint8 (X, Y, Z).

    UserError as for a scan, and if the grid differs from the scan's or values are fractions. A
    label whose axes are stored in another order or direction than the scan's is turned.
    """
    problems: list[Problem] = []
    of_scan, file, turn = read_header(scan), opened(path), None
    try:
        fix = "use the label that belongs to this scan, or resample the label"
        turn = of_scan.turn_of(_header(file), scan, path, "scan and label", fix)
    except UserError as error:
        problems += error.problems
    try:
        classes = class_values(_values(file, 1, "label")[0], path, file.step)
    except UserError as error:
        raise UserError([*problems, *error.problems]) from None
    raise_all(problems)
    return classes if turn is None else turn.apply(classes)


def write(path: Path, arrays: Mapping[str, Stored], header: Header) -> None:
    """Write one array (X, Y, Z) or (K, X, Y, Z) with the geometry, units and version of a scan."""
    (array,) = arrays.values()
    # The first three axes of NIfTI are space, so the classes of a map come fourth.
    shape = (*header.shape, *array.shape[:-3])
    header.native.write_like(path, shape, array.dtype, volumes_of(array))


def _is_valid(affine: NDArray[np.float64]) -> bool:
    """True if an affine has three independent directions and voxels of a possible size."""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or sides.min() < SMALLEST or sides.max() > 1 / SMALLEST:
        return False
    return bool(abs(np.linalg.det(affine[:3, :3])) >= FLATTEST * np.prod(sides))


def _check_geometry(affine: NDArray[np.float64], written: NDArray[np.float64], path: Path) -> None:
    """Raise UserError for an affine without three directions, or a voxel side of 0."""
    if _is_valid(affine) and written.min() > 0:
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


def _values(file: NiftiFile, channels: int, noun: str = "scan") -> NDArray[np.float32]:
    """Return the scaled values of an opened file, float32 (C, X, Y, Z).

    The header is checked before memory is allocated; a gzip file's checksum is checked too.
    UserError if the shape differs, or the file is too large, damaged or contains NaN.
    """
    with damage_named(file.path):
        file.check(channels)
    values = file.values().reshape((*file.shape, 1)[:4])
    check_finite(values, file.path, noun)
    return np.moveaxis(values, -1, 0)
