"""Pseudo-labels: a network's decision on unlabelled images, cleaned to the largest component of each class."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import cc3d
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Labels = NDArray[np.uint8]


def decide(logits: Tensor) -> Tensor:
    """Classes uint8 (B, *S) of logits (B, K, *S), without gradient.

    Two classes: foreground where its softmax probability is >= 0.5. More: the class of the largest probability, of
    equal ones the first.
    """
    probabilities = logits.detach().to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)
    if logits.shape[1] == 2:
        return (probabilities[:, 1] >= 0.5).to(torch.uint8)
    return probabilities.argmax(1).to(torch.uint8)


def largest_components(label: Labels, classes: int) -> Labels:
    """Per sample and foreground class, only the largest component of a label (B, X, Y) or (B, X, Y, Z); a new array.

    Voxels that touch by a corner are connected (8 neighbours in 2D, 26 in 3D). Of components of equal size the one
    whose first voxel comes first in C order wins. The rest becomes background. classes counts the background.
    """
    cleaned = np.zeros_like(label)
    for sample, result in zip(label, cleaned, strict=True):
        for index in range(1, classes):
            mask = sample == index
            box = _bounding_box(mask)
            if box is not None:
                result[box][_largest(mask[box])] = index
    return cleaned


def clean_async(label: Tensor, classes: int) -> PendingLabels:
    """:func:`largest_components` of a label uint8 (B, *S) in a thread, while the caller goes on.

    Nothing here waits for a CUDA device: the copy to the host is queued, and the thread waits for it. Call ``result()``
    on the return value for the cleaned label on the label's own device.
    """
    if not label.is_cuda:
        return PendingLabels(_pool().submit(_clean_host, label.cpu(), None, classes), label.device)
    host = torch.empty(label.shape, dtype=label.dtype, pin_memory=True)
    host.copy_(label, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record(torch.cuda.current_stream(label.device))
    return PendingLabels(_pool().submit(_clean_host, host, copied, classes), label.device)


@dataclass(frozen=True)
class PendingLabels:
    """Cleaned labels under way."""

    future: Future[Tensor]
    device: torch.device

    def result(self) -> Tensor:
        """The cleaned label uint8 (B, *S) on the device it came from. Waits for the thread, and raises what it raised."""
        return self.future.result().to(self.device, non_blocking=True)


@cache
def _pool() -> ThreadPoolExecutor:
    """One thread: cc3d holds the interpreter's lock, so more would only wait for each other (measured)."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="components")


def _clean_host(label: Tensor, copied: torch.cuda.Event | None, classes: int) -> Tensor:
    if copied is not None:
        copied.synchronize()
    cleaned = torch.from_numpy(largest_components(label.numpy(), classes))
    return cleaned if copied is None else cleaned.pin_memory()


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """The smallest box that holds all of the mask, or None for an empty mask."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        occupied = np.flatnonzero(mask.any(axis=others))
        if occupied.size == 0:
            return None
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return tuple(box)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest component of a mask that is not empty.

    cc3d 4.1.1 gives wrong components for booleans (2D, and some 3D shapes raise) and for arrays that are not
    contiguous; its numbering does not always follow the first voxels. So it gets contiguous integers, and ties are
    broken here.
    """
    voxels = np.ascontiguousarray(mask).view(np.uint8)
    components, count = cc3d.connected_components(voxels, connectivity=8 if mask.ndim == 2 else 26, return_N=True)
    if count == 1:
        return mask
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    largest = np.flatnonzero(sizes == sizes.max())
    if len(largest) == 1:
        return np.asarray(components == largest[0])
    first = np.isin(components, largest).ravel().argmax()
    return np.asarray(components == components.ravel()[first])
