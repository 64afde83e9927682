"""Digests of images and labels, to know a case again under whatever name and however saved."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.data.case import Case
from crossview.data.checks.likeness import likeness


def digest(array: NDArray[Any]) -> str:
    """Return the digest of an array's type, shape and values."""
    found = hashlib.blake2b(f"{array.dtype.name} {array.shape}".encode(), digest_size=16)
    found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


@dataclass
class Contents:
    """What is noted by the names of cases whenever an image or a label of them is read.

    Attributes:
        raw: True for images as stored, of which signatures are noted.
        images: Digests of images.
        labels: Digests of labels.
        likeness: Signatures of images, as text, by which a copy saved in another way is known.
    """

    raw: bool = False
    images: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    likeness: dict[str, str] = field(default_factory=dict)

    def watched(self, case: Case) -> Case:
        """Return the case with readers that note what they read."""

        def read_image() -> NDArray[np.float32]:
            image = case.read_image()
            self.images[case.id] = digest(image)
            if self.raw and image.ndim in (3, 4):
                self.likeness[case.id] = likeness(image).as_text()
            return image

        def read_label() -> NDArray[np.uint8]:
            assert case.read_label is not None  # only labelled cases are asked
            label = case.read_label()
            self.labels[case.id] = digest(label)
            return label

        return replace(
            case, read_image=read_image, read_label=None if case.read_label is None else read_label
        )
