"""Images taken apart into windows or slices for a network, and their maps put together again.

Windows follow the published LA code (SS-Net, BCP and CML took it from UA-MT, Yu et al., MICCAI
2019): they start at min(stride * k, side - patch), every window has the same weight, and an image
smaller than the window is padded with zeros on both sides.

Slices are resized to the patch and their maps back, both with the nearest pixel, like the published
ACDC code. Nearest-pixel resizing and arg-max commute, so the maps are resized and the class is
chosen afterwards. For some sizes the released code loses the last row or column when resizing back
and fills it with background; here it is the nearest pixel too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from crossview.data.slices import resize_index

Item = TypeVar("Item")

FREE_SHARE = 0.5
"""Maps that need more than this share of a GPU's free memory are summed in host memory."""


def window_starts(side: int, patch: int, stride: int) -> list[int]:
    """Return the starts of the windows on one axis, in rising order.

    There are ceil((side - patch) / stride) + 1. ``side`` is at least ``patch``.
    """
    steps = -((patch - side) // stride)
    return [min(stride * k, side - patch) for k in range(steps + 1)]


class Parts(Protocol):
    """One image split into network inputs of one shape; ``result`` combines their maps."""

    def __len__(self) -> int: ...

    def cut(self, index: int) -> Tensor:
        """Return the network input (C, *patch) of one part."""
        ...

    def add(self, index: int, maps: Tensor) -> None:
        """Add the maps (..., *patch) of one part."""
        ...

    def result(self) -> Tensor:
        """Return the image's maps (..., *S), float32. Called once, after all parts are added."""
        ...


class Windows:
    """The sliding windows of an image (C, *S); ``result`` is the mean over windows per voxel."""

    def __init__(self, image: Tensor, patch: Sequence[int], stride: Sequence[int]) -> None:
        sides = image.shape[1:]
        missing = [max(window - side, 0) for window, side in zip(patch, sides, strict=True)]
        before = [pad // 2 for pad in missing]
        padding = [(left, pad - left) for left, pad in zip(before, missing, strict=True)]
        self.image = (
            F.pad(image, [width for pair in reversed(padding) for width in pair])
            if any(missing)
            else image
        )
        self.patch = tuple(patch)
        self.starts = [
            window_starts(*axis) for axis in zip(self.image.shape[1:], patch, stride, strict=True)
        ]
        self.corners = list(itertools.product(*self.starts))
        self.inside: tuple[Any, ...] = (
            ...,
            *(slice(left, left + side) for left, side in zip(before, sides, strict=True)),
        )
        self.total: Tensor | None = None

    def __len__(self) -> int:
        return len(self.corners)

    def _window(self, index: int) -> tuple[Any, ...]:
        """Return the index of a window in the last axes of the image or its maps."""
        return (
            ...,
            *(
                slice(start, start + side)
                for start, side in zip(self.corners[index], self.patch, strict=True)
            ),
        )

    def cut(self, index: int) -> Tensor:
        return self.image[self._window(index)]

    def add(self, index: int, maps: Tensor) -> None:
        if self.total is None:
            leading = maps.shape[: maps.ndim - len(self.patch)]
            self.total = zeros_beside(maps, (*leading, *self.image.shape[1:]))
        self.total[self._window(index)] += maps.to(self.total.device)

    def result(self) -> Tensor:
        # Only the caller keeps the maps: the rest of this image lives until the next is requested.
        total, self.total = self.total, None
        assert total is not None  # every image has at least one window
        return total.div_(self._count(total.device))[self.inside]

    def _count(self, device: torch.device) -> Tensor:
        """Return the number of windows per voxel: the product of the counts per axis."""
        count = torch.ones((), device=device)
        for side, window, starts in zip(self.image.shape[1:], self.patch, self.starts, strict=True):
            covered = torch.zeros(side)
            for start in starts:
                covered[start : start + window] += 1
            count = count.unsqueeze(-1) * covered.to(device)
        return count


class SliceWindows(Windows):
    """The sliding 2D windows in a volume's slices (C, D, H, W); ``result`` as in ``Windows``."""

    def __init__(self, image: Tensor, patch: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__(image, (1, *patch), (1, *stride))

    def cut(self, index: int) -> Tensor:
        return super().cut(index).squeeze(-3)

    def add(self, index: int, maps: Tensor) -> None:
        super().add(index, maps.unsqueeze(-3))


def zeros_beside(maps: Tensor, shape: Sequence[int]) -> Tensor:
    """Return float32 zeros on the device of ``maps``, or in host memory if the GPU is too full."""
    device = maps.device
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        if 4 * torch.Size(shape).numel() > FREE_SHARE * (free + reserved):
            device = torch.device("cpu")
    return torch.zeros(*shape, dtype=torch.float32, device=device)


def run_batches(
    images: Iterable[tuple[Item, Parts]], network: Callable[[Tensor], Tensor], batch: int
) -> Iterator[tuple[Item, Tensor]]:
    """Yield each item with the maps of its image, in order, as soon as its last part has run.

    ``network`` maps (B, C, *patch) to (B, ..., *patch). Every batch except the last contains
    ``batch`` parts, of one or several images. An image is requested only when its first part is
    about to run.
    """
    parts = ((item, image, index) for item, image in images for index in range(len(image)))
    while chunk := list(itertools.islice(parts, batch)):
        maps = network(torch.stack([image.cut(index) for _, image, index in chunk]))
        for (item, image, index), part in zip(chunk, maps, strict=True):
            image.add(index, part)
            if index == len(image) - 1:
                yield item, image.result()


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
