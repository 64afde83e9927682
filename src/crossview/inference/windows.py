"""Images taken apart into windows or slices for a network, and their maps put together again.

Windows follow the published LA code (SS-Net, BCP and CML took it from UA-MT, Yu et al., MICCAI
2019): they start at min(stride * k, side - patch), every window has the same weight unless the
recipe asks for Gaussian ones, and an image smaller than the window is padded with zeros on both
sides.

Slices are resized to the patch and their maps back, both with the nearest pixel, like the published
ACDC code. Nearest-pixel resizing and arg-max commute, so the maps are resized and the class is
chosen afterwards. For some sizes the released code loses the last row or column when resizing back
and fills it with background; here it is the nearest pixel too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from crossview.data.slices import resize_index
from crossview.inference.weights import gaussian, product, total_weight

Item = TypeVar("Item")

Weighting = Literal["uniform", "gaussian"]
"""Weights of a window's voxels in the mean over windows."""

BLOCK = 2**24
"""Values of the maps that are completed at once: at least a row, 64 MB, or all of a small image."""

LARGE = 2**24
"""Voxels of an image from which windows run along its longest axis."""

HALVED = 2**28
"""Values of sums in progress (1 GiB in float32) from which they are kept in float16.

With eight windows per voxel a mean of probabilities is then off by 0.002 at most, which changes
labels where two classes are that close. The sums of more windows, and Gaussian weights, need more
digits and stay float32.
"""

FREE_SHARE = 0.5
"""Maps that need more than this share of a GPU's free memory are summed in host memory."""


def window_starts(side: int, patch: int, stride: int) -> list[int]:
    """Return the starts of the windows on one axis, in rising order.

    There are ceil((side - patch) / stride) + 1. ``side`` is at least ``patch``.
    """
    steps = -((patch - side) // stride)
    return [min(stride * k, side - patch) for k in range(steps + 1)]


class Parts(Protocol):
    """One image split into network inputs of one shape.

    Their maps are combined in blocks of rows along ``axis``, each as soon as no later part adds to
    it, so memory holds the rows of a few parts and not the whole image's.

    Attributes:
        axis: Axis of the image, from 0, along which the parts run.
    """

    axis: int

    def __len__(self) -> int: ...

    def cut(self, index: int) -> Tensor:
        """Return the network input (C, *patch) of one part."""
        ...

    def add(self, index: int, maps: Tensor) -> None:
        """Add the maps (..., *patch) of one part. Parts are added in order."""
        ...

    def finished(self, index: int) -> Iterator[Tensor]:
        """Yield the maps (..., *rows) that part ``index`` has completed, float32, in order."""
        ...


class Windows:
    """The sliding windows of an image (C, *S); maps are the weighted mean over windows per voxel.

    Windows run along the first axis; in a large volume along the longest, where a row of the maps
    is smallest.
    """

    def __init__(
        self,
        image: Tensor,
        patch: Sequence[int],
        stride: Sequence[int],
        weighting: Weighting = "uniform",
    ) -> None:
        sides = image.shape[1:]
        missing = [max(window - side, 0) for window, side in zip(patch, sides, strict=True)]
        before = [pad // 2 for pad in missing]
        padding = [(left, pad - left) for left, pad in zip(before, missing, strict=True)]
        self.image = (
            F.pad(image, [width for pair in reversed(padding) for width in pair])
            if any(missing)
            else image
        )
        self.patch, self.sides = tuple(patch), tuple(self.image.shape[1:])
        self.axis = self.sides.index(max(self.sides)) if sides.numel() > LARGE else 0
        starts = [window_starts(*axis) for axis in zip(self.sides, patch, stride, strict=True)]
        self.corners = sorted(itertools.product(*starts), key=lambda corner: corner[self.axis])
        self.weights = [gaussian(side) for side in patch] if weighting == "gaussian" else []
        self.totals = [
            total_weight(side, start, weight)
            for side, start, weight in zip(
                self.sides, starts, self.weights or map(torch.ones, patch), strict=True
            )
        ]
        self.inside: list[Any] = [
            slice(left, left + side) for left, side in zip(before, sides, strict=True)
        ]
        self.blocks: dict[int, Tensor] = {}
        self.dtype = torch.float32
        self.rows = self.done = 0

    def __len__(self) -> int:
        return len(self.corners)

    def _window(self, index: int) -> list[Any]:
        """Return the place of a window in the image's axes."""
        return [
            slice(start, start + side)
            for start, side in zip(self.corners[index], self.patch, strict=True)
        ]

    def cut(self, index: int) -> Tensor:
        return self.image[(..., *self._window(index))]

    def add(self, index: int, maps: Tensor) -> None:
        leading = maps.shape[: maps.ndim - len(self.patch)]
        if not self.rows:
            in_row = leading.numel() * math.prod(self.sides) // self.sides[self.axis]
            self.rows = max(1, BLOCK // in_row)
            if maps.is_cpu and in_row * self.patch[self.axis] >= HALVED and self._few():
                self.dtype = torch.float16
        if self.weights:
            maps = maps * product([weight.to(maps.device) for weight in self.weights])
        place = self._window(index)
        start, stop = place[self.axis].start, place[self.axis].stop
        for number in range(start // self.rows, -(-stop // self.rows)):
            low, high = self._bounds(number)
            if number not in self.blocks:
                shape = [*self.sides]
                shape[self.axis] = high - low
                self.blocks[number] = zeros_beside(maps, (*leading, *shape), self.dtype)
            block = self.blocks[number]
            first, last = max(low, start), min(high, stop)
            place[self.axis] = slice(first - low, last - low)
            rows = maps.narrow(self.axis - len(self.sides), first - start, last - first)
            block[(..., *place)] += rows.to(block.device)

    def _few(self) -> bool:
        """True if no voxel lies in more than eight windows of uniform weight."""
        return not self.weights and math.prod(float(total.max()) for total in self.totals) <= 8

    def finished(self, index: int) -> Iterator[Tensor]:
        side = self.sides[self.axis]
        until = self.corners[index + 1][self.axis] if index + 1 < len(self) else side
        while self.done * self.rows < side and self._bounds(self.done)[1] <= until:
            low, high = self._bounds(self.done)
            # Only the caller keeps the block.
            block = self.blocks.pop(self.done).float()
            self.done += 1
            totals = [total.to(block.device) for total in self.totals]
            totals[self.axis] = totals[self.axis][low:high]
            place, real = [*self.inside], self.inside[self.axis]
            place[self.axis] = slice(max(real.start - low, 0), max(real.stop - low, 0))
            mean = block.div_(product(totals))[(..., *place)]
            del block
            if mean.shape[self.axis - len(self.sides)]:
                yield mean

    def _bounds(self, number: int) -> tuple[int, int]:
        """Return the first row of a block and the first after it."""
        return number * self.rows, min((number + 1) * self.rows, self.sides[self.axis])


class SliceWindows(Windows):
    """The sliding 2D windows in a volume's slices (C, D, H, W); maps as in ``Windows``."""

    def __init__(
        self,
        image: Tensor,
        patch: Sequence[int],
        stride: Sequence[int],
        weighting: Weighting = "uniform",
    ) -> None:
        super().__init__(image, (1, *patch), (1, *stride), weighting)

    def cut(self, index: int) -> Tensor:
        return super().cut(index).squeeze(-3)

    def add(self, index: int, maps: Tensor) -> None:
        super().add(index, maps.unsqueeze(-3))


def zeros_beside(maps: Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Return zeros on the device of ``maps``, or in host memory if the GPU is too full."""
    device = maps.device
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        if 4 * torch.Size(shape).numel() > FREE_SHARE * (free + reserved):
            device = torch.device("cpu")
    return torch.zeros(*shape, dtype=dtype, device=device)


def run_batches(
    images: Iterable[tuple[Item, Parts]], network: Callable[[Tensor], Iterable[Tensor]], batch: int
) -> Iterator[tuple[Item, Tensor]]:
    """Yield each item with the blocks of its maps, in order, as soon as a block is complete.

    ``network`` maps (B, C, *patch) to B maps (..., *patch). Every batch except the last contains
    ``batch`` parts, of one or several images. An image is requested only when its first part is
    about to run.
    """
    parts = ((item, image, index) for item, image in images for index in range(len(image)))
    while chunk := list(itertools.islice(parts, batch)):
        yield from _run_batch(chunk, network)


def _run_batch(
    chunk: Sequence[tuple[Item, Parts, int]], network: Callable[[Tensor], Iterable[Tensor]]
) -> Iterator[tuple[Item, Tensor]]:
    """Yield the blocks that one batch completes. Its maps are freed before the next batch runs."""
    maps = network(torch.stack([image.cut(index) for _, image, index in chunk]))
    for (item, image, index), part in zip(chunk, maps, strict=True):
        image.add(index, part)
        for block in image.finished(index):
            yield item, block


class Slices:
    """The slices of a volume (C, D, H, W) or image (C, H, W), as network inputs (C, *patch)."""

    axis = 0

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
        self.maps: list[Tensor] = []

    def __len__(self) -> int:
        return self.volume.shape[1]

    def cut(self, index: int) -> Tensor:
        return _resized(self.volume[:, index], self.there)

    def add(self, index: int, maps: Tensor) -> None:
        self.maps.append(_resized(maps, self.back))

    def finished(self, index: int) -> Iterator[Tensor]:
        if index + 1 == len(self) or sum(each.numel() for each in self.maps) >= BLOCK:
            maps, self.maps = self.maps, []
            yield torch.stack(maps, dim=-3) if len(self.sides) == 3 else maps[0]


def _index(source: int, target: int, device: torch.device) -> Tensor:
    return torch.tensor(resize_index(source, target), device=device)


def _resized(image: Tensor, index: Sequence[Tensor]) -> Tensor:
    rows, columns = index
    return image.index_select(-2, rows).index_select(-1, columns)
