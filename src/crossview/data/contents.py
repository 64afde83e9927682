"""Digests of the content of images and labels, to know a case again whatever its file is called."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossview.data.case import Case

Number = TypeVar("Number", bound=np.generic)


def digest(array: NDArray[Any]) -> str:
    """Return the digest of an array's type, shape and values."""
    found = hashlib.blake2b(f"{array.dtype.name} {array.shape}".encode(), digest_size=16)
    found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


@dataclass
class Contents:
    """Digests by the names of cases, noted whenever an image or a label of them is read."""

    images: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    def watched(self, case: Case) -> Case:
        """Return the case with readers that note what they read."""
        label = case.read_label and self._noting(case.read_label, self.labels, case.id)
        return replace(
            case, read_image=self._noting(case.read_image, self.images, case.id), read_label=label
        )

    @staticmethod
    def _noting(
        read: Callable[[], NDArray[Number]], digests: dict[str, str], name: str
    ) -> Callable[[], NDArray[Number]]:
        def reading() -> NDArray[Number]:
            array = read()
            digests[name] = digest(array)
            return array

        return reading
