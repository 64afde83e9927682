"""The grid of a case in the viewer: its axes as right, up and deep, and its place in space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from crossview.data.io.nifti_bytes import in_memory
from crossview.reporting.pictures.frame import RADIOLOGICAL, UNORIENTED
from crossview.reporting.pictures.panels import Array

LARGEST = 2048
"""Voxels along an axis: browsers hold no larger textures. A larger scan is shown with gaps."""

FINE = 3
"""Parts that a voxel of a small volume has per side, so that outlines are thin.

An odd number: the middle part has the voxel's own value.
"""

SMALL = 300_000
"""Voxels of a small volume."""


@dataclass(frozen=True)
class Grid:
    """Turns arrays (*S) of a case into NIfTI volumes that the viewer shows upright.

    Attributes:
        order: The array's axes that become x, y and z.
        downwards: True if the array's rows run downwards, so y is reversed.
        affine: Voxel-to-world matrix (4, 4) of the volumes.
        oriented: True if the affine is the scan's own, so that left and right are known.
        flat: True for a 2D image.
        steps: Every how many-th voxel is shown, per axis.
        fine: Parts that each voxel has per side.
    """

    order: tuple[int, ...]
    downwards: bool
    affine: NDArray[np.float64]
    oriented: bool
    flat: bool
    steps: tuple[int, ...]
    fine: int = 1

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        affine: Array | None = None,
        *,
        slice_axis: int = -1,
        spacing: Sequence[float] | None = None,
    ) -> Grid:
        """Return the grid of a case.

        Args:
            shape: *S, 2D or 3D.
            affine: 4x4 voxel-to-world matrix (RAS, mm), if known. Without it the array is shown as
                the pictures of a report show it.
            slice_axis: The axis along which slices are counted, if there is no affine.
            spacing: Voxel sides in mm, used without an affine.
        """
        steps = tuple(-(-count // LARGEST) for count in shape)
        fine = FINE if len(shape) == 3 and np.prod(shape) <= SMALL else 1
        if len(shape) == 2:
            return cls((1, 0), True, np.diag([*steps[::-1], 1.0, 1.0]), False, True, steps)
        if affine is not None:
            scaled = np.asarray(affine, np.float64) @ np.diag([*steps, 1])
            return cls((0, 1, 2), False, scaled, True, False, steps, fine)
        order = (2, 1, 0) if slice_axis % 3 == 0 else (0, 1, 2)
        sides = np.multiply(spacing or (1.0, 1.0, 1.0), steps)[list(order)]
        return cls(order, True, np.diag([*sides, 1.0]), False, False, steps, fine)

    @property
    def note(self) -> str:
        """How the planes are to be read, and if voxels are left out."""
        notes = [] if self.flat else [RADIOLOGICAL if self.oriented else UNORIENTED]
        if max(self.steps) > 1:
            noun = "pixel" if self.flat else "voxel"
            notes.append(f"Too large for a browser: one {noun} in {max(self.steps)} is shown")
        return ". ".join(notes)

    def turn(self, array: Array) -> Array:
        """Return (*S) or (*S, 3) as the viewer's volume, (X, Y, Z) or (X, Y, Z, 3)."""
        seen = array[tuple(slice(None, None, step) for step in self.steps)]
        colour = range(len(self.order), seen.ndim)
        turned = seen.transpose(*self.order, *colour)
        if self.flat:
            turned = turned[:, :, None]
        return turned[:, ::-1] if self.downwards else turned

    def volume(self, array: Array, *, smooth: bool = False) -> bytes:
        """Return an array (*S), or (*S, 3) of colours, as an uncompressed NIfTI file.

        smooth: True to interpolate between voxels where they are split.
        """
        turned = self.turn(array)
        if self.fine == 1:
            return in_memory(turned, self.affine)
        if smooth:
            turned = zoom(turned, self.fine, order=1, mode="nearest", grid_mode=True)
        else:
            for axis in range(3):
                turned = turned.repeat(self.fine, axis)
        split = np.diag([1 / self.fine] * 3 + [1.0])
        split[:3, 3] = (1 / self.fine - 1) / 2
        return in_memory(turned, self.affine @ split)

    def centre(self, mask: Array) -> list[float]:
        """Return the place in mm where most of a mask (*S) is cut by the three planes."""
        turned = self.turn(mask)
        place = []
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            sums = turned.sum(axis=others, dtype=np.int64)
            place.append(int(sums.argmax()) if sums.any() else turned.shape[axis] // 2)
        return [float(value) for value in (self.affine @ [*place, 1])[:3]]
