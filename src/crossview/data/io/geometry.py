"""The geometry of a stored scan: its grid in space, and the order and direction of its axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import fail
from crossview.data.io.storage import Storage

Number = TypeVar("Number", bound=np.generic)

TOLERANCE = 0.1
"""Largest accepted distance between the corners of two grids, in sides of the smallest voxel."""


@dataclass(frozen=True)
class Orientation:
    """The order and direction of a stored array's spatial axes as a model sees them.

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
        """Return a view of a stored array (..., *S) as the model sees it."""
        leading = array.ndim - len(self.axes)
        turned = array.transpose(*range(leading), *(leading + axis for axis in self.axes))
        result: NDArray[Number] = turned[self._reversed()]
        return result

    def undo(self, array: NDArray[Number]) -> NDArray[Number]:
        """Return a view of an array (..., *S) of the model as it is stored."""
        leading = array.ndim - len(self.axes)
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


@dataclass(frozen=True, eq=False)
class Header:
    """The facts of a scan's header.

    Attributes:
        shape: Spatial axes as stored, *S.
        channels: Number of channels.
        affine: Voxel-to-world matrix (4, 4) in mm, None if the format stores none.
        native: The format's own header, from which predictions on the same grid are written.
        storage: How a PNG or TIFF file stores its pixels, else None.
    """

    shape: tuple[int, ...]
    channels: int = 1
    affine: NDArray[np.float64] | None = None
    native: Any = field(default=None, repr=False)
    storage: Storage | None = None

    def orientation(self, order: Sequence[int], canonical: bool = True) -> Orientation:
        """Return the orientation for a model with the axes ``order``; as stored without affine."""
        if self.affine is None:
            return Orientation(tuple(range(len(self.shape))), (False,) * len(self.shape))
        return Orientation.canonical(self.affine, order) if canonical else Orientation(tuple(order))

    def check_same_grid(self, other: Header, one: Path, two: Path, what: str, fix: str) -> None:
        """Raise UserError at ``two`` if the grid of a volume differs from another's.

        Grids differ in shape, or in any corner by more than a tenth of the smallest voxel side.
        """
        if self.shape != other.shape:
            found = ", ".join(
                f"{file.parent.name}/{file.name} {' x '.join(map(str, header.shape))}"
                for header, file in ((self, one), (other, two))
            )
            fail(f"{what} differ in shape", two, found=found, expected="the same shape", fix=fix)
        assert self.affine is not None and other.affine is not None  # noqa: PT018
        limit = TOLERANCE * float(np.linalg.norm(self.affine[:3, :3], axis=0).min())
        apart = float(np.linalg.norm(self.corners() - other.corners(), axis=1).max())
        if apart > limit:
            fail(
                f"{what} are not aligned in space",
                two,
                found=f"corners up to {apart:.3g} mm apart",
                expected=f"at most {limit:.2g} mm, a tenth of the smallest voxel side",
                fix=fix,
            )

    def corners(self) -> NDArray[np.float64]:
        """Return the corners of a volume, (8, 3), in mm."""
        assert self.affine is not None  # volumes have one
        ends = np.array(list(product(*((0, side - 1) for side in self.shape))), dtype=np.float64)
        corners: NDArray[np.float64] = ends @ self.affine[:3, :3].T + self.affine[:3, 3]
        return corners
