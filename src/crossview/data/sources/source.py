"""The contract of a source: typed keys of the recipe's [data] table, and cases by role."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field, field_validator, model_validator

from crossview.core.table import Table
from crossview.data.case import Splits

Sampling = Literal["crop", "crop_released", "resize"]


Augmentation = Literal["none", "rot90_flip", "rot90_flip_or_rotate", "mild", "strong"]


Normalisation = Literal[
    "none", "z_score", "min_max", "z_score_clipped", "z_score_unpadded", "foreground"
]


Orientation = Literal["stored", "canonical"]


LONGEST = 4096
"""Longest side of a patch: far more than memory allows in three dimensions."""


class DataOptions(Table):
    """Keys of [data] that every source has; a source's Options adds keys or defaults."""

    source: str = Field(description="Source of the cases: a name from `crossview list sources`.")
    labelled: int = Field(
        ge=1,
        description="Number of labelled cases (ACDC: patients), the first of the published list.",
    )
    validation: int = Field(
        default=0,
        ge=0,
        description="Number of labelled cases, the last ones, used for validation instead of "
        "training.",
    )
    fold: tuple[int, ...] = Field(
        default=(),
        description="Cross-validation: [2, 5] tests the labelled cases of fold 2 of 5 and trains "
        "on the others. Patients are dealt to the folds in turn. The data set's own test cases are "
        "then not used. `crossview bench` sets it for suites with `folds`. Empty: no folds.",
    )
    patch: tuple[int, ...] = Field(
        description="Size in voxels of a training patch: two numbers for slices, three for volumes."
    )
    classes: int = Field(ge=2, le=255, description="Number of classes, including the background.")
    sampling: Sampling = Field(
        description="How patches are taken. crop: a random box; smaller items are padded with "
        "zeros. crop_released: the box of the published LA code (3 voxels more padding; the last "
        "corner is never drawn). resize: the whole slice, nearest neighbour."
    )
    foreground_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the labelled crops centred on a random voxel of a random class in "
        "the item, as far as the crop fits into it; slices without foreground are replaced by "
        "slices with some. All other crops, including those of unlabelled scans, are drawn "
        "uniformly. Needs a sampling that crops.",
    )
    augmentation: Augmentation = Field(
        description="none. rot90_flip: a rotation by a multiple of 90 degrees, then always a flip "
        "(axes 0 and 1). rot90_flip_or_rotate: rot90_flip for half of the slices, a rotation by "
        "-20 to 19 degrees for a quarter, nothing for a quarter (needs sampling = resize). mild: "
        "a small rotation in the plane of axes 0 and 1, changes of size, brightness, contrast and "
        "gamma, and noise (needs sampling = crop). strong: larger rotations about every axis, "
        "larger changes of size, bends, noise, blur, low resolution, brightness, contrast and "
        "gamma, each in a part of the images (needs sampling = crop)."
    )
    normalisation: Normalisation = Field(
        default="none",
        description="Normalisation of intensities, of predicted files and of training cases that "
        "are stored raw (the published h5 files are normalised already). z_score: mean 0 and "
        "standard deviation 1. z_score_clipped: clipped to the scan's own 0.5th to 99.5th "
        "percentile, then z_score. z_score_unpadded: the same, with numbers of the scan without "
        "its constant border, so padding changes nothing. min_max: to 0..1. foreground: clipped "
        "and standardised by the fixed numbers of `intensities`, for CT.",
    )
    intensities: tuple[tuple[float, float, float, float], ...] = Field(
        default=(),
        description="For normalisation = foreground, per channel: the lowest and highest value, "
        "mean and standard deviation.",
    )
    orientation: Orientation = Field(
        default="stored",
        description="Axes of a volume. stored: as in the file. canonical: towards right, "
        "front and head (from the affine).",
    )
    nifti_axes: tuple[int, ...] = Field(
        default=(0, 1, 2),
        description="Order in which the axes of a volume (canonical: right, front, head) are "
        "read, to match the training cases.",
    )
    spacing: tuple[float, ...] = Field(
        default=(),
        description="Voxel spacing in mm to which scans are resampled, one number per axis in the "
        "order of nifti_axes; 0 keeps an axis. Empty: no resampling. Predictions are always on "
        "the scan's own grid.",
    )

    @field_validator("patch")
    @classmethod
    def _sides(cls, patch: tuple[int, ...]) -> tuple[int, ...]:
        if max(patch, default=0) > LONGEST:
            raise ValueError(f"sides of {LONGEST} voxels at most")
        return patch

    @model_validator(mode="after")
    def _consistent(self) -> DataOptions:
        if len(self.patch) not in (2, 3) or min(self.patch) < 1:
            raise ValueError(f"patch: two or three positive numbers, found {list(self.patch)}")
        if self.fold and not (len(self.fold) == 2 and 1 <= self.fold[0] <= self.fold[1] > 1):
            raise ValueError(
                f"fold: a number and the number of folds, such as [1, 5]; found {list(self.fold)}"
            )
        # Three for slices too: a NIfTI file of slices is a stack.
        if sorted(self.nifti_axes) != [0, 1, 2]:
            raise ValueError(
                f"nifti_axes: three numbers, each axis once, such as [0, 1, 2]; found "
                f"{list(self.nifti_axes)}"
            )
        if self.spacing and (
            len(self.spacing) not in (3, len(self.patch)) or min(self.spacing) < 0
        ):
            raise ValueError(
                f"spacing: one number in mm per axis of a scan, 0 to keep it; found "
                f"{list(self.spacing)}"
            )
        if (self.normalisation == "foreground") != bool(self.intensities):
            raise ValueError(
                "normalisation = foreground needs intensities: (lowest, highest, mean, deviation) "
                "per channel; other normalisations need none"
            )
        if any(low >= high or deviation <= 0 for low, high, _, deviation in self.intensities):
            raise ValueError(
                "intensities: the lowest value must be below the highest, and the standard "
                "deviation above 0"
            )
        if self.labelled and self.validation >= self.labelled:
            raise ValueError(
                f"validation = {self.validation} leaves none of the {self.labelled} labelled cases "
                "for training; lower it"
            )
        if self.sampling == "resize" and len(self.patch) != 2:
            raise ValueError(
                f"sampling = resize is for slices: patch needs two numbers, found "
                f"{list(self.patch)}"
            )
        if self.foreground_share and self.sampling == "resize":
            raise ValueError(
                "foreground_share applies to crops, but sampling = resize uses whole slices; set "
                "it to 0"
            )
        if self.augmentation == "rot90_flip_or_rotate" and self.sampling != "resize":
            raise ValueError(
                f"augmentation = rot90_flip_or_rotate needs sampling = resize, found "
                f"{self.sampling}"
            )
        if self.augmentation in ("mild", "strong") and self.sampling != "crop":
            raise ValueError(
                f"augmentation = {self.augmentation} needs sampling = crop, found {self.sampling}"
            )
        return self


class Source(Protocol):
    """The interface of a source module."""

    Options: type[DataOptions]

    def splits(self, root: Path | None, options: Any) -> Splits:
        """Return the cases by role, without reading images.

        Args:
            root: The data folder, None if the user gave none.
            options: An instance of this source's ``Options``.

        Raises:
            UserError: With all problems of the data folder at once.
        """
        ...
