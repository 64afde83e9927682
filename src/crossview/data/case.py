"""Cases: scans, or slices of scans, that are read on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem
from crossview.core.partial import PartialLabels
from crossview.core.regions import Region
from crossview.data.io.channels import is_numbered
from crossview.data.io.storage import Storage


@dataclass(frozen=True)
class Case:
    """One image and, if it is labelled, its label.

    The readers raise UserError if a file is missing, truncated or incomplete.

    Attributes:
        id: Name of the case, unique within a data set.
        patient: Unit of splits and bootstraps; all scans of a patient share it.
        file: File of the image, for messages.
        read_image: Returns the image, float32 (C, *S).
        read_label: Returns the label, uint8 (*S); None for an unlabelled case.
        spacing: Voxel spacing in mm in array order, or None if the file format stores none.
        affine: Voxel-to-world matrix (4, 4), or None.
        read_storage: Returns how the files of image and label store their pixels, None for a
            format or a label without such facts; None if no file of the case has any.
        read_label_at: Returns another label file of the image, such as a draft; None for a
            published data set.
        partial: Values of the label that are no class; None if all must be classes.
    """

    id: str
    patient: str
    file: Path
    read_image: Callable[[], NDArray[np.float32]]
    read_label: Callable[[], NDArray[np.uint8]] | None = None
    spacing: tuple[float, ...] | None = None
    affine: NDArray[np.float64] | None = None
    read_storage: Callable[[], tuple[Storage | None, Storage | None]] | None = None
    read_label_at: Callable[[Path], NDArray[np.uint8]] | None = None
    partial: PartialLabels | None = None

    @property
    def where(self) -> str:
        """The case and its file, for messages."""
        return f"{self.id} ({self.file})"

    @property
    def labelled(self) -> bool:
        return self.read_label is not None

    @property
    def numbered(self) -> bool:
        """True if the file has the case's name and a channel number, <case>_0000."""
        return is_numbered(self.file, self.id)

    def classes_of(self, label: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return its label (*S) with background where the class is not known."""
        return label if self.partial is None else self.partial.classes_of(label)

    def without_label(self) -> Case:
        """Return the case without access to its label, for the unlabelled stream."""
        return replace(self, read_label=None, partial=None)


@dataclass(frozen=True)
class Splits:
    """The cases of a data set by role.

    Training uses ``labelled`` and ``unlabelled`` and never sees ``test``.

    Attributes:
        classes: Number of classes, background included.
        unit: Unit of distances in results, "voxel" or "mm".
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
    """True if images are read as stored and must be resampled and normalised as in [data]."""
    notes: tuple[str, ...] = ()
    """Sentences for every result, e.g. that test volumes were cropped around the ground truth."""
    unused: tuple[Case, ...] = ()
    """Cases without a role, such as other scans of test patients."""
    predicted: tuple[Case, ...] = ()
    """Unlabelled cases with labels that a model predicted: taught in training, never scored."""
    unpredicted: tuple[Problem, ...] = ()
    """Problems of these predictions, which training has and scoring has not."""
    regions: tuple[Region, ...] = ()
    """The regions that are trained and scored instead of the classes; () for classes."""

    @property
    def taught(self) -> tuple[Case, ...]:
        """The training cases whose labels are taught."""
        return (*self.labelled, *self.predicted)

    @property
    def scored_names(self) -> tuple[str, ...]:
        """Names of what is scored, the background first: the regions, else the classes."""
        of_regions = tuple(region.name for region in self.regions)
        return ("background", *of_regions) if of_regions else self.class_names

    def members(self, scored: int) -> tuple[int, ...]:
        """Return the classes of what is scored as number ``scored``, from 1."""
        return self.regions[scored - 1].classes if self.regions else (scored,)

    @property
    def numbered(self) -> bool:
        """True if the names of the scans' files end in channel numbers."""
        return any(case.numbered for case in self.labelled)
