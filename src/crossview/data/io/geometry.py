"""The geometry of a stored scan: its grid in space, and the order and direction of its axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        other_affines: Further matrices of the same header, by name, that other programs follow.
        form: Name of ``affine`` among them.
    """

    shape: tuple[int, ...]
    channels: int = 1
    affine: NDArray[np.float64] | None = None
    native: Any = field(default=None, repr=False)
    storage: Storage | None = None
    other_affines: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)
    form: str = ""

    def orientation(self, order: Sequence[int], canonical: bool = True) -> Orientation:
        """Return the orientation for a model with the axes ``order``; as stored without affine."""
        if self.affine is None:
            return Orientation(tuple(range(len(self.shape))), (False,) * len(self.shape))
        return Orientation.canonical(self.affine, order) if canonical else Orientation(tuple(order))

    def turn_of(self, other: Header, one: Path, two: Path, what: str, fix: str) -> Orientation:
        """Return the axes of another volume that bring its array into this one's storage.

        Both are on one grid if some matrix of each places every voxel at a voxel of the other, in
        whatever order and direction the axes are stored: corners apart by at most a tenth of the
        smallest voxel side. Raise UserError at ``two`` for different grids.
        """
        if sorted(self.shape) != sorted(other.shape):
            found = ", ".join(
                f"{file.parent.name}/{file.name} {' x '.join(map(str, header.shape))}"
                for header, file in ((self, one), (other, two))
            )
            fail(f"{what} differ in shape", two, found=found, expected="the same shape", fix=fix)
        limit = TOLERANCE * self._smallest_side()
        with np.errstate(over="ignore", invalid="ignore"):  # a damaged header's origin
            turn, apart = self._compared(other, limit)
        if turn is not None:
            return turn
        fail(
            f"{what} are not aligned in space",
            two,
            found=f"corners up to {apart:.3g} mm apart" + self._doubt(one) + other._doubt(two),
            expected=f"at most {limit:.2g} mm, a tenth of the smallest voxel side",
            fix=fix,
        )

    def placed(
        self, array: NDArray[Number], affine: NDArray[np.float64], path: Path
    ) -> NDArray[Number]:
        """Return a label's array (X, Y, Z) in this volume's storage, 0 where it has no voxels.

        Its grid may be a part of this one, in whatever order and direction its axes are stored.
        UserError at ``path`` if its voxels are not this volume's, up to a tenth of their smallest
        side, or a labelled one is outside.
        """
        assert self.affine is not None  # volumes have one
        fix = "use the label that belongs to this scan, or resample the label"
        to_mine = np.linalg.inv(self.affine) @ affine
        turn = Orientation.canonical(to_mine)
        offset = turn.affine(to_mine, array.shape)[:3, 3]
        turned, start = turn.apply(array), np.rint(offset).astype(int)
        there = np.eye(4)
        there[:3, 3] = start
        apart = _apart(
            corners(turned.shape, self.affine @ there),
            corners(turned.shape, turn.affine(affine, array.shape)),
        )
        if apart > (limit := TOLERANCE * self._smallest_side()):
            fail(
                "scan and label are not aligned in space",
                path,
                found=f"voxels up to {apart:.3g} mm from those of the scan",
                expected=f"at most {limit:.2g} mm, a tenth of the smallest voxel side",
                fix=fix,
            )
        result = np.zeros(self.shape, array.dtype)
        pairs = list(zip(start, self.shape, turned.shape, strict=True))
        mine = tuple(slice(max(first, 0), max(first + of, 0)) for first, _, of in pairs)
        inside = tuple(slice(max(-first, 0), max(side - first, 0)) for first, side, _ in pairs)
        result[mine] = turned[inside]
        if lost := np.count_nonzero(turned) - np.count_nonzero(result):
            fail(
                "the label reaches beyond its scan",
                path,
                found=f"{lost:,} labelled voxels outside",
                expected="labelled voxels inside the scan",
                fix=fix,
            )
        return result

    def _compared(self, other: Header, limit: float) -> tuple[Orientation | None, float]:
        """Return how the other's axes come into this storage, or None and the distance in mm."""
        mine, others = self._affines(), other._affines()
        for here, there in product(mine, others):
            turn = Orientation.canonical(np.linalg.inv(here) @ there)
            if tuple(other.shape[axis] for axis in turn.axes) == self.shape:
                turned = corners(self.shape, turn.affine(there, other.shape))
                if _apart(corners(self.shape, here), turned) <= limit:
                    return turn, 0.0
        return None, _nearest(corners(self.shape, mine[0]), corners(other.shape, others[0]))

    def _affines(self) -> list[NDArray[np.float64]]:
        assert self.affine is not None  # volumes have one
        return [self.affine, *self.other_affines.values()]

    def _smallest_side(self) -> float:
        return float(np.linalg.norm(self._affines()[0][:3, :3], axis=0).min())

    def _doubt(self, file: Path) -> str:
        """Return a remark for messages if the header's matrices differ."""
        for name, affine in self.other_affines.items():
            apart = _apart(*(corners(self.shape, each) for each in (self._affines()[0], affine)))
            if apart > TOLERANCE * self._smallest_side():
                if self.form == "no form":
                    return f"; {file.name} stores no place in space (sform and qform code 0)"
                return (
                    f"; in {file.name} {self.form} and {name} are up to {apart:.3g} mm apart, and "
                    f"neither fits"
                )
        return ""


def corners(shape: Sequence[int], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the corners of a volume, (8, 3), in mm."""
    ends = np.array(list(product(*((0, side - 1) for side in shape))), dtype=np.float64)
    placed: NDArray[np.float64] = ends @ affine[:3, :3].T + affine[:3, 3]
    return placed


def _apart(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Return the largest distance of corners, each from its own counterpart."""
    return float(np.linalg.norm(one - two, axis=1).max())


def _nearest(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Return the largest distance of a corner from the nearest corner of the other volume."""
    return float(np.linalg.norm(one[:, None] - two, axis=2).min(axis=1).max())
