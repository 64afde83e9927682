"""Slice-wise inference: each slice is resized to the patch, and its maps are resized back.

Both directions use the nearest pixel, like the published ACDC code. Nearest-pixel resizing and
arg-max commute, so the maps are resized and the class is chosen afterwards. For some sizes the
released code loses the last row or column when resizing back and fills it with background; here it
is the nearest pixel too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from crossview.data.augment import resize_index
from crossview.inference.windows import zeros_beside


class Slices:
    """The slices of a volume (C, D, H, W) or image (C, H, W), as network inputs (C, *patch)."""

    def __init__(self, image: Tensor, patch: Sequence[int]) -> None:
        self.sides = image.shape[1:]
        self.volume = image if image.ndim == 4 else image.unsqueeze(1)
        self.there = [
            _index(side, size, image.device)
            for side, size in zip(self.sides[-2:], patch, strict=True)
        ]
        self.back = [
            _index(size, side, image.device)
            for side, size in zip(self.sides[-2:], patch, strict=True)
        ]
        self.maps: Tensor | None = None

    def __len__(self) -> int:
        return self.volume.shape[1]

    def cut(self, index: int) -> Tensor:
        return _resized(self.volume[:, index], self.there)

    def add(self, index: int, maps: Tensor) -> None:
        resized = _resized(maps, self.back)
        if self.maps is None:
            self.maps = zeros_beside(maps, (*maps.shape[:-2], *self.volume.shape[1:]))
        self.maps[..., index, :, :] = resized.to(self.maps.device)

    def result(self) -> Tensor:
        assert self.maps is not None  # every volume has at least one slice
        return self.maps if len(self.sides) == 3 else self.maps[..., 0, :, :]


def _index(source: int, target: int, device: torch.device) -> Tensor:
    return torch.tensor(resize_index(source, target), device=device)


def _resized(image: Tensor, index: Sequence[Tensor]) -> Tensor:
    rows, columns = index
    return image.index_select(-2, rows).index_select(-1, columns)
