"""Checks of a case that has been read. They raise nothing; callers collect all problems."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossview.data.case import Case
from crossview.errors import Problem


def check_case(
    image: NDArray[np.float32],
    label: NDArray[np.uint8] | None,
    case: Case,
    classes: int,
    channels: int,
) -> list[Problem]:
    """Return the problems of an image (C, *S) and its label (*S).

    They concern channels, shapes, NaN or infinite values, and label values outside the classes.
    """
    where = f"{case.id} ({case.file})"
    problems = []
    if image.ndim not in (3, 4) or image.shape[0] != channels:
        found, expected = str(image.shape), f"{channels} channel(s), then two or three axes"
        problems.append(
            Problem(
                "the image has an unexpected shape",
                where,
                found,
                expected,
                "give every case the same channels",
            )
        )
    # The sum is finite unless a value is not (or the sum overflows): one pass, and no array of
    # booleans for a clean image.
    with np.errstate(invalid="ignore"):
        total = image.sum(dtype=np.float64)
    if not np.isfinite(total) and (bad := int(image.size - np.isfinite(image).sum())):
        problems.append(
            Problem(
                "the image contains values that are not numbers",
                where,
                f"{bad} NaN or infinite voxels",
                "finite values",
                "repair the image or exclude the case",
            )
        )
    if label is None:
        return problems
    if label.shape != image.shape[1:]:
        found, expected = f"image {image.shape[1:]}, label {label.shape}", "the same shape"
        problems.append(
            Problem(
                "image and label differ in shape",
                where,
                found,
                expected,
                "use the label that belongs to this image",
            )
        )
    if label.size and int(label.max()) >= classes:
        values = ", ".join(str(value) for value in np.unique(label))
        fix = "correct the label file or data.classes"
        problems.append(
            Problem(
                "the label has values outside the classes",
                where,
                f"values {values}",
                f"0 to {classes - 1}",
                fix,
            )
        )
    return problems
