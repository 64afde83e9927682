"""The part of an image that is not constant padding, taken apart alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from crossview.data.padding import Box, unpadded
from crossview.inference.windows import Parts, zeros_beside


def within(image: NDArray[np.float32], parts_of: Callable[[NDArray[np.float32]], Parts]) -> Parts:
    """Return the parts of an image (C, *S) without its constant border, which maps leave at 0."""
    box = unpadded(image)
    part = image[:, *box]
    parts = parts_of(part)
    return parts if part.shape == image.shape else Within(parts, box, image.shape[1:])


class Within:
    """The parts of a box of an image (C, *S); outside of the box ``result`` is 0."""

    def __init__(self, parts: Parts, box: Box, shape: Sequence[int]) -> None:
        self.parts, self.box, self.shape = parts, box, tuple(shape)

    def __len__(self) -> int:
        return len(self.parts)

    def cut(self, index: int) -> Tensor:
        return self.parts.cut(index)

    def add(self, index: int, maps: Tensor) -> None:
        self.parts.add(index, maps)

    def result(self) -> Tensor:
        maps = self.parts.result()
        whole = zeros_beside(maps, (*maps.shape[: maps.ndim - len(self.box)], *self.shape))
        index: tuple[Any, ...] = (..., *self.box)
        whole[index] = maps.to(whole.device)
        return whole
