"""NIfTI volumes: their place in space, and predictions on the grid of a scan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.data.io import nifti_file
from crossview.data.io.geometry import Header
from crossview.data.io.nifti_file import NiftiFile, damage_named
from crossview.data.io.scan import check_finite
from crossview.data.io.volume_file import check_geometry, is_valid
from crossview.data.io.volumes import Stored, volumes_of

SUFFIXES = (".nii.gz", ".nii")


NO_PLACE = np.zeros((4, 4))


@dataclass(frozen=True, eq=False)
class NiftiVolume:
    """An opened NIfTI file as a volume."""

    file: NiftiFile

    @property
    def header(self) -> Header:
        with damage_named(self.file.path):
            affines, shape = self.file.affines, self.file.shape
            # A form that is no geometry, such as an sform of zeros, leaves the place to the other.
            valid = [name for name in ("sform", "qform") if is_valid(affines.get(name, NO_PLACE))]
            used = [*valid, *affines][0]
            sides = math.inf if used == "sform" else self.file.sides
            check_geometry(affines[used], self.file.path, sides)
            return Header(
                (*shape, 1, 1, 1)[:3],
                shape[3] if len(shape) > 3 else 1,
                affines[used],
                self.file,
                other_affines={
                    name: affines[name]
                    for name in affines
                    if name != used and is_valid(affines[name])
                },
                form=used,
            )

    @property
    def step(self) -> float:
        return self.file.step

    def values(self, channels: int, noun: str = "scan") -> NDArray[np.float32]:
        with damage_named(self.file.path):
            self.file.check(channels)
        values = self.file.values().reshape((*self.file.shape, 1)[:4])
        check_finite(values, self.file.path, noun)
        return np.moveaxis(values, -1, 0)


def opened(path: Path) -> NiftiVolume:
    """Open a file. UserError if it is missing or damaged, or is not a NIfTI file."""
    return NiftiVolume(nifti_file.opened(path))


def write(path: Path, arrays: Mapping[str, Stored], header: Header) -> None:
    """Write one array (X, Y, Z) or (K, X, Y, Z) on the grid of a scan of any format.

    A prediction for a NIfTI scan keeps the scan's geometry, units and version as they are stored.
    """
    (array,) = arrays.values()
    # The first three axes of NIfTI are space, so the classes of a map come fourth.
    shape = (*header.shape, *array.shape[:-3])
    if isinstance(header.native, NiftiFile):
        header.native.write_like(path, shape, array.dtype, volumes_of(array))
    else:
        nifti_file.write_placed(path, shape, array.dtype, volumes_of(array), header.affine)
