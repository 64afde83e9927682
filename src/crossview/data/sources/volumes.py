"""NIfTI scans as training cases: stored intensities and classes in canonical orientation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.data.nifti import (
    Nifti1Image,
    Orientation,
    open_nifti,
    read_channels,
    sides_without_affine,
)
from crossview.data.sources.class_values import class_values
from crossview.errors import Problem, UserError, raise_all

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
