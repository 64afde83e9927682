"""Orientation of a volume for display, and the planes cut from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossview.reporting.pictures.letters import ENDS, mark
from crossview.reporting.pictures.panels import (
    Array,
    Colour,
    Mask,
    Panel,
    draw_outlines,
    fill,
    grey,
)

COARSE = 0.3
"""Share of the longest side.

A volume whose slice axis is shorter than this is shown by three slices, else by three planes.
"""


RADIOLOGICAL = (
    "As radiologists view it: the patient's right (R) is at the left, front (A) and head (S) are up"
)

UNORIENTED = "No orientation is stored: the patient's left, right, front and back are not known"


@dataclass(frozen=True)
class Frame:
    """Orientation of a volume for display: its axes become (slice, row, column).

    ends: letters of the first and last index of each display axis, such as "R" and "L"; () if the
    orientation is not known.
    """

    order: tuple[int, ...]
    flipped: tuple[bool, ...]
    spacing: tuple[float, ...]
    planes: tuple[str, ...]
    ends: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls, dimensions: int, slice_axis: int, affine: Array | None, sliced: bool = False
    ) -> Frame:
        """Return the frame of an image.

        Volumes are shown as radiologists view them: the patient's right at the left, front and
        head up.

        Args:
            dimensions: 2 or 3.
            slice_axis: The axis along which slices are counted, if there is no affine.
            affine: 4x4 voxel-to-world matrix (RAS), if known; for a slice, that of its volume.
            sliced: True for slices along axis 0 of volumes with this affine.
        """
        if dimensions == 2 and (affine is None or not sliced):
            return cls((0, 1), (False, False), (1.0, 1.0, 1.0), ("slice", "", ""))
        if affine is None and slice_axis % 3 != 2:
            order = (slice_axis % 3, *(axis for axis in range(3) if axis != slice_axis % 3))
            return cls(
                order,
                (False, False, False),
                (1.0, 1.0, 1.0),
                ("slice", *(f"plane {axis + 1}" for axis in order[1:])),
            )
        # Without an affine, the array is assumed to run to the left, back and head, as in DICOM and
        # NRRD files.
        world = (
            np.diag([-1.0, -1.0, 1.0])
            if affine is None
            else np.asarray(affine, dtype=np.float64)[:3, :3]
        )
        sides = np.linalg.norm(world, axis=0)
        axes = _nearest_axes(world / sides)
        by_world = tuple(float(sides[axis]) for axis in axes)
        thick = int(np.argmax(by_world)) if max(by_world) >= 2.5 * min(by_world) else 2
        if sliced:
            thick = axes.index(0)
        across = {0: (0, 2, 1), 1: (1, 2, 0), 2: (2, 1, 0)}[thick]
        flipped = tuple(bool(world[direction, axes[direction]] > 0) for direction in across)
        names = ("sagittal", "coronal", "axial") if affine is not None else ("x", "y", "z")
        return cls(
            tuple(axes[d] for d in across),
            flipped,
            tuple(by_world[d] for d in across),
            tuple(names[d] for d in across),
            () if affine is None else tuple(ENDS[d] for d in across),
        )

    @property
    def note(self) -> str:
        """How a sheet of this frame is to be read; "" for an image that is drawn as it is."""
        if self.ends:
            return RADIOLOGICAL
        return UNORIENTED if len(self.order) == 3 else ""

    def turn(self, array: Array) -> Array:
        """Return (*S) as (slices, rows, columns); a 2D image has one slice."""
        array = np.asarray(array)
        if array.ndim < len(self.order):
            array = array[None]  # a slice of a volume
        turned = np.transpose(array, self.order)
        turned = np.flip(turned, tuple(axis for axis, flip in enumerate(self.flipped) if flip))
        return turned if turned.ndim == 3 else turned[None]

    def coarse(self, shape: tuple[int, ...]) -> bool:
        sides = [count * length for count, length in zip(shape, self.spacing, strict=True)]
        return self.spacing[0] >= 2.5 * min(self.spacing[1:]) or sides[0] < COARSE * max(sides[1:])

    def caption(self, axis: int, index: int, count: int) -> str:
        """Return the position of a plane, counted from 1 in the array's own order."""
        position = count - index if len(self.flipped) == 3 and self.flipped[axis] else index + 1
        return f"{self.planes[axis]} {position} of {count}" if count > 1 else ""


@dataclass(frozen=True)
class Cut:
    """A plane across a volume in display order, with tints and outlines over it.

    Attributes:
        axis: The axis that the plane is perpendicular to.
        index: Its place on that axis.
        name: The first part of its caption.
        tints: Masks, volumes as well, each with its colour.
        outlines: Classes, volumes as well, each with its colours and the width of its lines.
    """

    axis: int
    index: int
    name: str = ""
    tints: Sequence[tuple[Mask, Colour]] = ()
    outlines: Sequence[tuple[Array, Sequence[Colour], float]] = ()

    def draw(
        self,
        image: Array,
        frame: Frame,
        side: int,
        limits: tuple[float, float],
        *,
        region: Sequence[slice] = (slice(None),) * 3,
        opacity: float = 0.62,
    ) -> Panel:
        """Draw the plane of an image in true proportions, at most ``side`` pixels wide or high.

        Args:
            image: The volume in display order.
            frame: The orientation of the volume.
            side: The longer side of the panel in pixels.
            limits: Intensities drawn black and white.
            region: The part of the volume to show.
            opacity: Opacity of the tints.
        """
        rows, columns = (axis for axis in range(3) if axis != self.axis)

        def plane(volume: Array) -> Array:
            return np.asarray(volume.take(self.index, self.axis)[region[rows], region[columns]])

        flat = plane(image)
        height, width = flat.shape[0] * frame.spacing[rows], flat.shape[1] * frame.spacing[columns]
        scale = side / max(height, width)
        pixels = grey(flat, limits, (max(1, round(width * scale)), max(1, round(height * scale))))
        for mask, colour in self.tints:
            pixels = fill(pixels, plane(mask), colour, opacity)
        for classes, family, thickness in self.outlines:
            pixels = draw_outlines(pixels, plane(classes), family, thickness)
        if frame.ends:
            pixels = mark(pixels, frame.ends[rows], frame.ends[columns])
        where = frame.caption(self.axis, self.index, image.shape[self.axis])
        return Panel(pixels, "  ".join(part for part in (self.name, where) if part))


def _nearest_axes(directions: Array) -> tuple[int, ...]:
    """Return the array axis that runs most along each world axis, each axis once."""
    left = np.abs(directions)
    axes = [0, 0, 0]
    for _ in range(3):
        direction, axis = np.unravel_index(int(np.argmax(left)), left.shape)
        axes[direction] = int(axis)
        left[direction, :] = left[:, axis] = -1
    return tuple(axes)


def fullest(counts: Array, axis: int, otherwise: int | None = None) -> int:
    """Return the index along an axis where most voxels are set.

    Where none is set, return ``otherwise``, or the middle if that is None.
    """
    sums = counts.sum(
        axis=tuple(other for other in range(counts.ndim) if other != axis), dtype=np.int64
    )
    if sums.any():
        return int(sums.argmax())
    return counts.shape[axis] // 2 if otherwise is None else otherwise
