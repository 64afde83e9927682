"""What a source of cases is: typed keys of the recipe's [data] table, and the cases by their role."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossview.data.case import Splits

Sampling = Literal["crop", "crop_released", "resize"]
Augmentation = Literal["none", "rot90_flip", "rot90_flip_or_rotate", "mild"]
Normalisation = Literal["none", "z_score", "min_max", "z_score_clipped", "foreground"]
Orientation = Literal["stored", "canonical"]


class DataOptions(BaseModel):
    """Keys of [data] that every source has; a source's Options adds its own or gives defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(
        description="Where the cases come from: a name of `crossview list sources`."
    )
    labelled: int = Field(
        ge=1,
        description="How many labelled cases are used (ACDC: patients), the first of the published list.",
    )
    validation: int = Field(
        default=0,
        ge=0,
        description="How many of the labelled cases are kept for validation, and so not trained on: the last of them.",
    )
    patch: tuple[int, ...] = Field(
        description="Size in voxels of what the network sees in training: two numbers for slices, three for volumes."
    )
    classes: int = Field(ge=2, le=256, description="Number of classes, the background included.")
    sampling: Sampling = Field(
        description="How an item becomes a patch. crop: a random box, the item padded with zeros where it is smaller. crop_released: the "
        "box of the published LA code (3 voxels more padding; the last corner is never drawn). resize: the whole slice, nearest neighbour."
    )
    foreground_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the labelled crops that are centred on a random voxel of a random class which the item has, as far as the "
        "crop then lies within it; a slice without any class gives way to one with some. The others are drawn uniformly, and so are all "
        "crops of unlabelled scans, of which nobody knows where to look. Needs a sampling that crops.",
    )
    augmentation: Augmentation = Field(
        description="none. rot90_flip: a turn by a multiple of 90 degrees, then always a flip (axes 0 and 1). rot90_flip_or_rotate: that "
        "for one half of the slices, a rotation by -20 to 19 degrees for a quarter, nothing for a quarter (needs sampling = resize). mild: "
        "a small turn in the plane of axes 0 and 1, a change of size, brightness, contrast and gamma, and noise (needs sampling = crop)."
    )
    normalisation: Normalisation = Field(
        default="none",
        description="What is done to the intensities of a scan: of a file that is predicted, and of the training cases of a source that "
        "reads them as they are stored (the published h5 files are normalised already). z_score: mean 0 and standard deviation 1. "
        "z_score_clipped: that, clipped to the scan's own 0.5th to 99.5th percentile before. min_max: to 0..1. foreground: clipped and "
        "standardised by the fixed numbers of `intensities`, for CT.",
    )
    intensities: tuple[tuple[float, float, float, float], ...] = Field(
        default=(),
        description="For normalisation = foreground, a channel: the lowest and highest value, mean and standard deviation.",
    )
    orientation: Orientation = Field(
        default="stored",
        description="stored: a NIfTI array's axes as the file has them. canonical: towards right, front and head, told by the affine.",
    )
    nifti_axes: tuple[int, ...] = Field(
        default=(0, 1, 2),
        description="The order in which a NIfTI array's axes (canonical: right, front, head) are read, so that a scan lies as the "
        "training cases do.",
    )
    spacing: tuple[float, ...] = Field(
        default=(),
        description="Voxel sides in mm to which scans are resampled, one an axis of the scan in the order of nifti_axes; 0 leaves an axis "
        "as it is. Empty: scans are not resampled. Predictions always come back in the scan's own grid.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> DataOptions:
        if len(self.patch) not in (2, 3) or min(self.patch) < 1:
            raise ValueError(f"patch: two or three positive numbers, found {list(self.patch)}")
        if sorted(self.nifti_axes) != [
            0,
            1,
            2,
        ]:  # three for slices too: a NIfTI file of slices is a stack of them
            raise ValueError(
                f"nifti_axes: three numbers, each axis once, say [0, 1, 2]; found {list(self.nifti_axes)}"
            )
        if self.spacing and (
            len(self.spacing) not in (3, len(self.patch)) or min(self.spacing) < 0
        ):
            raise ValueError(
                f"spacing: a side in mm for each axis of a scan, 0 where it stays; found {list(self.spacing)}"
            )
        if (self.normalisation == "foreground") != bool(self.intensities):
            raise ValueError(
                "normalisation = foreground needs intensities, one (lowest, highest, mean, deviation) a channel; others none"
            )
        if any(low >= high or deviation <= 0 for low, high, _, deviation in self.intensities):
            raise ValueError(
                "intensities: the lowest value must be below the highest, and the standard deviation above 0"
            )
        if self.labelled and self.validation >= self.labelled:
            raise ValueError(
                f"validation = {self.validation} leaves none of the {self.labelled} labelled cases to train on; lower it"
            )
        if self.sampling == "resize" and len(self.patch) != 2:
            raise ValueError(
                f"sampling = resize is for slices: patch needs two numbers, found {list(self.patch)}"
            )
        if self.foreground_share and self.sampling == "resize":
            raise ValueError(
                "foreground_share is of crops: sampling = resize takes whole slices; set it to 0"
            )
        if self.augmentation == "rot90_flip_or_rotate" and self.sampling != "resize":
            raise ValueError(
                f"augmentation = rot90_flip_or_rotate needs sampling = resize, found {self.sampling}"
            )
        if self.augmentation == "mild" and self.sampling != "crop":
            raise ValueError(f"augmentation = mild needs sampling = crop, found {self.sampling}")
        return self


class Source(Protocol):
    """A module with these two names. ``splits`` raises one UserError with all problems of the data's root."""

    Options: type[DataOptions]

    def splits(self, root: Path | None, options: Any) -> Splits:
        """The cases by their role; images are not read yet. ``options`` is an instance of this source's ``Options``."""
        ...
