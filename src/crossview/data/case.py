"""A case: one scan (or one slice of it), read when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Case:
    """One image and, if it is labelled, its label.

    id: unique within a data set. patient: the unit of splits and of bootstraps (two scans of one patient share it).
    file: the image's file, for messages. read_image: -> float32 (C, *S). read_label: -> uint8 (*S), or None.
    spacing: voxel sides in mm in array order, or None where the file format has none. affine: 4x4 voxel-to-world, or None.
    The readers raise UserError for a file that is missing, truncated or lacks what it should hold.
    """

    id: str
    patient: str
    file: Path
    read_image: Callable[[], NDArray[np.float32]]
    read_label: Callable[[], NDArray[np.uint8]] | None = None
    spacing: tuple[float, ...] | None = None
    affine: NDArray[np.float64] | None = None

    @property
    def labelled(self) -> bool:
        return self.read_label is not None

    def without_label(self) -> Case:
        """The same case with no way to its label: what the unlabelled stream is given."""
        return replace(self, read_label=None)


@dataclass(frozen=True)
class Splits:
    """The cases of a data set by their role. ``labelled`` and ``unlabelled`` are for training; training never sees ``test``.

    classes counts the background. unit: of distances in results, "voxel" or "mm".
    """

    labelled: tuple[Case, ...]
    unlabelled: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]
    classes: int
    class_names: tuple[str, ...]
    channels: int = 1
    unit: str = "voxel"
    raw: bool = False
    """Images are as their files hold them: they are resampled and normalised as [data] says before a network sees them."""
    notes: tuple[str, ...] = ()
    """Sentences every result must carry, say that test volumes were cropped around the ground truth."""
