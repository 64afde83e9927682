"""Training cases read once, checked, and kept compact in memory, on the GPU, or beyond a budget on disk."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossview.data.case import Case
from crossview.data.check import check_case
from crossview.data.compact import INDEX_KINDS, Compact, compact
from crossview.data.memory import Room
from crossview.data.shelf import Shelves
from crossview.errors import Problem, UserError, raise_all

LARGEST_SHARE = 0.6
"""Of a GPU's free memory, for one store: networks and their activations need the rest."""
Item = tuple[Compact | None, NDArray[np.uint8] | None, list[Problem]]


class Store:
    """The images (C, *S) of some cases, of any shapes, and their labels if the cases have them; else it holds no labels at all.

    All images lie one after the other in one flat tensor ``voxels``, all labels in ``labels``: on the device asked for or, where they
    are too large for it (``fits``), in the computer's memory; ``self.device`` says which. Images of at most 32,768
    distinct values are kept as an index into a table, which loses nothing (LA: one byte a voxel). Where a single image of the store has
    more, ALL are float16, each value rounded by at most 1 part in 2,048; float32 where a value lies beyond float16's range (65,504).

    slices: take the slices of volumes, along their first axis, as the items; cases of two axes stay what they are.
    room: the memory for it; a store beyond that lies in a file that is mapped into memory (``on_disk``), with the same values in the same
    places. None: no limit. While cases are read there are, beside it, at most twice as many of them in memory as there are ``workers``.

    Raises one UserError with the problems of all cases: unreadable files, shapes, NaN, label values, channels; or that the disk is full.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        classes: int,
        channels: int,
        slices: bool = False,
        device: torch.device | str = "cpu",
        workers: int | None = None,
        room: Room | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if not cases:
            raise UserError(Problem("there are no cases to train on", expected="at least one"))
        if len({case.labelled for case in cases}) > 1:
            raise ValueError("a store is of labelled cases or of unlabelled ones, not of both")
        self.channels = channels
        shelves, shapes = Shelves(room, len(cases)), []

        def keep(image: Compact, label: NDArray[np.uint8] | None) -> None:
            shapes.append(image.data.shape)
            # A volume's label is that of its slices, one after the other; its image has channels in between.
            by_slice = slices and image.data.ndim == 4
            shelves.add(
                Compact(np.moveaxis(image.data, 1, 0), image.values) if by_slice else image, label
            )

        _read(cases, classes, channels, workers, progress, keep)
        kind = shelves.kind()
        shelves.widen(kind)
        ends = tuple(accumulate(shelves.values.sizes()))
        starts = (0, *ends[:-1])
        self.ids = tuple(case.id for case in cases)
        if slices and len(shapes[0]) == 4:
            depths = [shape[1] for shape in shapes]
            self.ids = tuple(
                f"{name} slice {k}"
                for name, depth in zip(self.ids, depths, strict=True)
                for k in range(depth)
            )
            starts, ends = (
                tuple(np.repeat(places, depths).tolist()) for places in (starts, ends)
            )  # a volume's slices share its table
            shapes = [
                (shape[0], *shape[2:])
                for shape, depth in zip(shapes, depths, strict=True)
                for _ in range(depth)
            ]
        self.shapes = tuple(shape[1:] for shape in shapes)
        """Each item's *S."""
        self.offsets = tuple(accumulate((prod(shape) for shape in self.shapes), initial=0))
        """Where each item's voxels begin in ``labels``, and times ``channels`` in ``voxels``."""
        self.value_offsets, self.value_ends = starts, ends
        """Where each item's table lies in ``values``."""
        self.indexed = kind in INDEX_KINDS
        self.voxels, self.values = shelves.voxels.tensor(kind), shelves.values.tensor("float32")
        self.labels: Tensor | None = shelves.labels.tensor("uint8") if cases[0].labelled else None
        self.on_disk = shelves.on_disk
        if fits(self.nbytes, torch.device(device)):
            self.voxels, self.values = self.voxels.to(device), self.values.to(device)
            self.labels = None if self.labels is None else self.labels.to(device)
            self.on_disk &= self.device.type == "cpu"

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def device(self) -> torch.device:
        return self.voxels.device

    @property
    def dimensions(self) -> int:
        """Number of spatial axes of the cases: 2 or 3."""
        return len(self.shapes[0])

    @property
    def in_memory(self) -> int:
        """Bytes held in the computer's memory; a mapped file's are not: the system may take its pages back."""
        return self.nbytes if self.device.type == "cpu" and not self.on_disk else 0

    @property
    def nbytes(self) -> int:
        """Bytes held on ``device``, or on disk."""
        return sum(
            tensor.nbytes
            for tensor in (self.voxels, self.values, self.labels)
            if tensor is not None
        )

    def stored(self, position: int) -> Tensor:
        """The image of a case as it is stored, (C, *S); ``decode`` turns any part of it into float32. A view."""
        start, end = (self.channels * self.offsets[position + step] for step in (0, 1))
        return self.voxels[start:end].view(self.channels, *self.shapes[position])

    def label(self, position: int) -> Tensor:
        """The label of a case, uint8 (*S). A view. Only for a store of labelled cases."""
        if self.labels is None:
            raise ValueError("this store holds no labels")
        return self.labels[self.offsets[position] : self.offsets[position + 1]].view(
            self.shapes[position]
        )

    def decode(self, stored: Tensor, position: int, out: Tensor | None = None) -> Tensor:
        """A part of a case's stored image as float32, written into the contiguous ``out`` if one is given."""
        if not self.indexed:
            return stored.float() if out is None else out.copy_(stored)
        table = self.values[self.value_offsets[position] : self.value_ends[position]]
        index = stored.reshape(
            -1
        ).int()  # index_select on int32 is the fastest of torch's look-ups on the CPU
        if out is None:
            return table.index_select(0, index).view(stored.shape)
        torch.index_select(table, 0, index, out=out.view(-1))
        return out


def fits(nbytes: int, device: torch.device) -> bool:
    """Whether a store of so many bytes may lie on the device: on a GPU at most 60 % of the memory that is free now."""
    return device.type != "cuda" or nbytes <= LARGEST_SHARE * torch.cuda.mem_get_info(device)[0]


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device. From the computer's memory to a GPU nothing waits: page-locked, in the order of the GPU's own work."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _read(
    cases: Sequence[Case],
    classes: int,
    channels: int,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
    keep: Callable[[Compact, NDArray[np.uint8] | None], None],
) -> None:
    """Give all images with their labels to ``keep``, in order. Threads: numpy and zlib let go of the interpreter for most of the time."""
    problems: list[Problem] = []
    axes = set()
    workers = workers or min(8, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(workers)
    try:
        items = _in_order(
            pool, lambda case: _read_case(case, classes, channels), cases, ahead=2 * workers
        )
        for done, (image, label, found) in enumerate(items, start=1):
            problems += found
            if image is not None:
                axes.add(image.data.ndim - 1)
            if image is not None and not problems:
                keep(image, label)
            if progress:
                progress(done, len(cases))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C doesn't wait for the rest of the cases
    if len(axes) > 1:
        problems.append(
            Problem(
                "slices and volumes are mixed",
                found=f"images of {min(axes)} and of {max(axes)} axes",
                expected="one of the two",
            )
        )
    raise_all(problems)


def _in_order(
    pool: ThreadPoolExecutor, read: Callable[[Case], Item], cases: Sequence[Case], ahead: int
) -> Iterator[Item]:
    """``map(read, cases)`` in threads, with at most ``ahead`` cases under way or waiting to be taken."""
    pending: deque[Future[Item]] = deque()
    for case in cases:
        if len(pending) == ahead:
            yield pending.popleft().result()
        pending.append(pool.submit(read, case))
    while pending:
        yield pending.popleft().result()


def _read_case(case: Case, classes: int, channels: int) -> Item:
    try:
        image = case.read_image()
        label = case.read_label() if case.read_label else None
    except UserError as error:
        return None, None, list(error.problems)
    problems = check_case(image, label, case, classes, channels)
    return (None, None, problems) if problems else (compact(image), label, [])
