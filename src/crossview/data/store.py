"""Training cases, read and checked once, in flat files mapped into memory or on the GPU."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from itertools import accumulate, islice
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossview.core.errors import Problem, fail, raise_all
from crossview.core.partial import IGNORED, PartialLabels
from crossview.core.progress import Progress
from crossview.core.threads import ThreadPool
from crossview.data.case import Case
from crossview.data.checks.case import read_case
from crossview.data.compact import INDEX_KINDS, Compact, compact
from crossview.data.mapped import Volumes

LARGEST_SHARE = 0.6
"""Share of a GPU's free memory for one store; networks and activations need the rest."""


Label = NDArray[np.uint8]


Mask = NDArray[np.bool_]


Item = tuple[Compact | None, Label | None, list[Problem]]


class Store:
    """The images (C, *S) of some cases, of any shapes, and their labels if the cases have any.

    All images are stored in one flat tensor ``voxels`` and all labels in ``labels``: on the
    requested GPU if they fit there (``fits``), else in nameless files that are mapped into memory.
    ``self.device`` is the actual device. Images with at most 32,768 distinct values are kept as an
    index into a table, which is lossless (LA: one byte per voxel). If a single image of the store
    has more, ALL are float16, each value rounded by at most 1 part in 2,048; they are float32 if a
    value exceeds the range of float16 (65,504).

    An item that nobody labelled is left out of a labelled store. ``unsure`` tells by case which
    items have voxels whose class is not known; their images belong in the unlabelled store too.
    ``partial`` holds the values of such voxels, None if there are none.

    Args:
        cases: Labelled cases or unlabelled cases, not both.
        classes: Number of classes, background included.
        channels: Number of channels of each image.
        slices: Use the slices of volumes, along their first axis, as items. 2D cases stay as they
            are.
        only: By case, the items to use, (slices,) or (1,). Other cases are used whole.
        device: Requested device.
        workers: Number of reading threads; None chooses it. During reading at most twice as many
            cases as threads are in memory besides the store.
        folder: A folder on the disk for the files; None for the system's temporary folder.
        progress: Called with (cases read, cases in all).

    Raises:
        UserError: With the problems of all cases: unreadable files, shapes, NaN, label values,
            channels; or if the disk is full.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        classes: int,
        channels: int,
        slices: bool = False,
        only: Mapping[str, Mask] | None = None,
        device: torch.device | str = "cpu",
        workers: int | None = None,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        if not cases:
            fail("there are no cases to train on", expected="at least one")
        if len({case.labelled for case in cases}) > 1:
            raise ValueError("a store is of labelled cases or of unlabelled ones, not of both")
        self.channels = channels
        self.partial: PartialLabels | None = None
        self.unsure: dict[str, Mask] = {}
        volumes = Volumes(folder or Path(tempfile.gettempdir()), len(cases))
        ids: list[str] = []
        shapes: list[tuple[int, ...]] = []
        tables: list[int] = []
        with closing(_read(cases, classes, channels, workers, progress)) as items:
            for case, image, label in items:
                shape, count = image.data.shape[1:], 1
                if slices and len(shape) == 3:
                    count, *rest = shape
                    names = [f"{case.id} slice {k}" for k in range(count)]
                    # The label of a volume is already the concatenation of its slices' labels; in
                    # its image the channels come first.
                    image = Compact(np.moveaxis(image.data, 1, 0), image.values)
                    shape = tuple(rest)
                else:
                    names = [case.id]
                used = (only or {}).get(case.id)
                if label is not None and case.partial is not None:
                    used = self._searched(case.id, label.reshape(count, -1), case.partial)
                if used is not None and not used.all():
                    image, label = _items(image, label, used)
                    names = [names[index] for index in np.flatnonzero(used)]
                if names:
                    ids += names
                    shapes += [shape] * len(names)
                    tables += [volumes.came] * len(names)  # slices of a volume share its table
                    volumes.add(image, label)
        if not ids:
            fail(
                "no training label has a labelled voxel",
                expected="at least one voxel whose class is known",
                fix="label a slice, or check the ignore value and [slices] in split.toml",
            )
        kind = volumes.unify()
        ends = list(accumulate((size for _, size in volumes.values.arrays), initial=0))
        self.ids, self.shapes = tuple(ids), tuple(shapes)
        """Name and shape *S per item."""
        self.offsets = tuple(accumulate(map(prod, shapes), initial=0))
        """Start of each item's voxels in ``labels``; times ``channels``, in ``voxels``."""
        self.value_offsets = tuple(ends[table] for table in tables)
        self.value_ends = tuple(ends[table + 1] for table in tables)
        """Start and end of each item's table in ``values``."""
        self.indexed = kind in INDEX_KINDS
        self.voxels, self.values = volumes.voxels.tensor(kind), volumes.values.tensor("float32")
        self.labels: Tensor | None = volumes.labels.tensor("uint8") if cases[0].labelled else None
        if fits(self.nbytes, torch.device(device)):
            self.voxels, self.values = self.voxels.to(device), self.values.to(device)
            self.labels = None if self.labels is None else self.labels.to(device)

    def _searched(self, case: str, items: Label, partial: PartialLabels) -> Mask:
        """Return which items (n, voxels) somebody labelled, and note the unsure ones."""
        unsure: Mask = np.asarray((items >= partial.lowest).any(1))
        if unsure.any():
            self.unsure[case], self.partial = unsure, partial
        return ~np.asarray((items == IGNORED).all(1))

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
    def nbytes(self) -> int:
        """Bytes on the GPU or on disk."""
        return sum(
            tensor.nbytes
            for tensor in (self.voxels, self.values, self.labels)
            if tensor is not None
        )

    def stored(self, position: int) -> Tensor:
        """Return a view of an image as stored, (C, *S); ``decode`` converts any part to float32."""
        start, end = (self.channels * self.offsets[position + step] for step in (0, 1))
        return self.voxels[start:end].view(self.channels, *self.shapes[position])

    def label(self, position: int) -> Tensor:
        """Return a view of a label, uint8 (*S). Raise ValueError if the store has no labels."""
        if self.labels is None:
            raise ValueError("this store holds no labels")
        return self.labels[self.offsets[position] : self.offsets[position + 1]].view(
            self.shapes[position]
        )

    def classes_at(self, position: int) -> Label:
        """Return a label on the host, background where the class is not known, uint8 (*S)."""
        label: Label = self.label(position).cpu().numpy()
        return label if self.partial is None else self.partial.classes_of(label)

    def decode(self, stored: Tensor, position: int, out: Tensor | None = None) -> Tensor:
        """Return a part of a stored image as float32, in the contiguous ``out`` if given."""
        if not self.indexed:
            return stored.float() if out is None else out.copy_(stored)
        table = self.values[self.value_offsets[position] : self.value_ends[position]]
        # index_select with int32 is the fastest of torch's look-ups on the CPU.
        index = stored.reshape(-1).int()
        if out is None:
            return table.index_select(0, index).view(stored.shape)
        torch.index_select(table, 0, index, out=out.view(-1))
        return out


def fits(nbytes: int, device: torch.device) -> bool:
    """True if a store of ``nbytes`` fits on the device: at most 60 % of a GPU's free memory."""
    return device.type != "cuda" or nbytes <= LARGEST_SHARE * torch.cuda.mem_get_info(device)[0]


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on the device. A copy to a GPU is page-locked and does not block."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _read(
    cases: Sequence[Case],
    classes: int,
    channels: int,
    workers: int | None,
    progress: Progress | None,
) -> Generator[tuple[Case, Compact, Label | None], None, None]:
    """Yield each case with its image and label, in order, until one has a problem.

    Then read on, and raise UserError with the problems of all cases at the end. Threads suffice:
    numpy and zlib release the interpreter lock most of the time.
    """
    problems: list[Problem] = []
    axes = set()
    workers = workers or min(8, os.cpu_count() or 1)
    waiting, pending = iter(cases), deque[Future[Item]]()
    pool = ThreadPool(workers)
    try:
        for done, case in enumerate(cases, start=1):
            for coming in islice(waiting, 2 * workers - len(pending)):
                pending.append(pool.submit(_read_case, coming, classes, channels))
            image, label, found = pending.popleft().result()
            problems += found
            if image is not None:
                axes.add(image.data.ndim - 1)
                if not problems:
                    yield case, image, label
            if progress:
                progress(done, len(cases))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the remaining cases
    if len(axes) > 1:
        problems.append(
            Problem(
                "slices and volumes are mixed",
                found=f"images with {min(axes)} and with {max(axes)} axes",
                expected="only one of the two",
            )
        )
    raise_all(problems)


def _items(image: Compact, label: Label | None, used: Mask) -> tuple[Compact, Label | None]:
    """Return the used slices of a volume, whose channels are second. A single item stays."""
    if len(used) == 1:
        return image, label
    part = None if label is None else label[used]
    return Compact(image.data[used], image.values), part


def _read_case(case: Case, classes: int, channels: int) -> Item:
    read = read_case(case, classes, channels)
    if read.image is None or read.problems:
        return None, None, read.problems
    return compact(read.image), read.label, []
