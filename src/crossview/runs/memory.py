"""Memory that a training step takes, compared with what there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from functools import partial
from math import prod

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from crossview.core.errors import fail
from crossview.core.memory import available_memory
from crossview.core.plugins import LOADED
from crossview.core.tensors import Batch
from crossview.data.stream import Stream
from crossview.methods import find
from crossview.methods.method import Method, Stage
from crossview.methods.plugin import checked_terms
from crossview.recipe.resolve import Recipe
from crossview.training.device import Precision, autocast, networks_of

SURELY = 200
"""Bytes per voxel, filter, image and network that no step exceeds; 15 to 115 were measured."""

TIMES: dict[Precision, tuple[float, float]] = {"float32": (1.1, 1.7), "bf16": (1.1, 2.0)}
"""A step takes at least and at most so many times what autograd keeps.

Measured: 1.2 to 1.7 in float32 and 1.2 to 2.0 in bf16, with CML, CPS, UA-MT and labelled-only
training, V-Net and U-Net, one thread. The rest are gradients of features and memory of kernels.
"""

NARROW = (2, 4)
"""Widths of the networks that are measured in place of the recipe's."""


def check_memory(
    recipe: Recipe, stream: Stream, channels: int, remark: Callable[[str], None]
) -> None:
    """Raise UserError if a training step needs more memory than there is; remark if it may.

    This is for CPUs, where the system slows down to a crawl and then ends the process; a GPU
    raises an error in the first step. Steps that are small beside the memory are not measured, nor
    are those of a method that is not recordable, which may differ in what they keep, or of a
    plugin, which may need the patch as it is.

    Args:
        recipe: The recipe. Precision "auto" counts as bf16, which takes less.
        stream: The batches.
        channels: Channels of the images.
        remark: Called with a line for the user.
    """
    available = available_memory()
    steady = find(recipe.method.name).recordable and recipe.method.name not in LOADED
    if available is None or stream.device.type != "cpu" or not steady:
        return
    with torch.device("meta"):
        networks = networks_of(recipe.build_method(channels))
    images = stream.labelled_batch
    if stream.unlabelled is not None:
        images += stream.unlabelled_batch
    voxels = prod(stream.patch) * images * len(networks)
    if SURELY * recipe.network.filters * voxels < available:
        return
    least, most = step_memory(recipe, stream, channels)
    there = f"{available / 1e9:.1f} GB"
    advice = (
        "give a smaller data.patch, training.labelled_batch, training.unlabelled_batch or "
        "network.filters, close other programs, or raise the memory limit of the job or container"
    )
    if least > available:
        fail(
            "there is too little memory for a training step",
            "[data] patch = " + " x ".join(map(str, stream.patch)),
            found=f"{there} available",
            expected=f"at least {least / 1e9:.1f} GB",
            fix=advice,
        )
    if most > available:
        remark(
            f"a training step takes {least / 1e9:.1f} to {most / 1e9:.1f} GB of memory and {there} "
            f"are available: if that is too little, {advice}"
        )


def step_memory(recipe: Recipe, stream: Stream, channels: int) -> tuple[int, int]:
    """Return the bytes that a training step takes besides weights and batch: the least, the most.

    Autograd keeps bytes for the backward pass in proportion to the voxels, and by the same number
    with every filter. So they are measured with two narrow networks on a small corner of a batch,
    in the recipe's precision. ``TIMES`` of that, and the gradients, is what a step takes.
    """
    precision: Precision = "float32" if recipe.training.precision == "float32" else "bf16"
    with torch.device("meta"):
        weights = list(recipe.build_method(channels).parameters())
    gradients = sum(each.nbytes for each in weights if each.requires_grad)
    with torch.random.fork_rng([]):  # the run's random numbers stay as they are
        kept = max(
            _kept_in_all(recipe, stream, channels, precision, index)
            for index in range(len(recipe.stages))
        )
    least, most = (int(times * kept) + gradients for times in TIMES[precision])
    return least, most


def _kept_in_all(
    recipe: Recipe, stream: Stream, channels: int, precision: Precision, index: int
) -> float:
    """Return the bytes that autograd keeps in a step of stage ``index``."""
    # Sides whose deepest level has two voxels, and four along the first axis: below that some
    # convolutions change to float32.
    side: int = 2**recipe.network.levels
    corner = [2 * side, *[side] * (len(stream.patch) - 1)]
    stage = recipe.stages[index]
    batch = _corner(stream.batch(index, 0, unlabelled=stage.unlabelled), corner)
    first, second = (
        _kept(_narrow(recipe, channels, filters), batch, stage, precision) for filters in NARROW
    )
    per_filter = (second - first) / (NARROW[1] - NARROW[0])
    all_filters: float = second + per_filter * (recipe.network.filters - NARROW[1])
    return all_filters * prod(stream.patch) / prod(corner)


def _narrow(recipe: Recipe, channels: int, filters: int) -> Method:
    """Return the recipe's method with narrower networks."""
    network = recipe.network.model_copy(update={"filters": filters})
    return replace(recipe, network=network).build_method(channels).train()


def _kept(method: Method, batch: Batch, stage: Stage, precision: Precision) -> int:
    """Return the most bytes that autograd keeps at once of a part of the loss, without weights."""
    weights = {each.data_ptr() for each in method.parameters()}
    parts, most = checked_terms(method, batch, stage, 0), 0
    while True:
        shelf = _Shelf(weights)
        with (
            autocast(batch.image.device, precision),
            saved_tensors_hooks(partial(_Kept, shelf), lambda kept: kept.value),
        ):
            if next(parts, None) is None:
                return most
        most = max(most, shelf.most)


class _Shelf:
    """Bytes of the tensors that autograd keeps, counted once each."""

    def __init__(self, weights: Set[int]) -> None:
        self.weights = weights
        self.times = Counter[int]()
        self.bytes, self.most = 0, 0


class _Kept:
    """A tensor for as long as autograd keeps it."""

    def __init__(self, shelf: _Shelf, value: Tensor) -> None:
        self.shelf, self.value, self.storage = shelf, value, value.untyped_storage()
        address = self.storage.data_ptr()
        if address not in shelf.weights:
            shelf.times[address] += 1
            if shelf.times[address] == 1:
                shelf.bytes += self.storage.nbytes()
                shelf.most = max(shelf.most, shelf.bytes)

    def __del__(self) -> None:
        address = self.storage.data_ptr()
        if address not in self.shelf.weights:
            self.shelf.times[address] -= 1
            if self.shelf.times[address] == 0:
                self.shelf.bytes -= self.storage.nbytes()


def _corner(batch: Batch, sides: Sequence[int]) -> Batch:
    """Return the batch cut to patches of ``sides``, or repeated where it is smaller."""
    return replace(
        batch,
        image=_cut(batch.image, sides),
        label=_cut(batch.label, sides),
        unlabelled=None if batch.unlabelled is None else _cut(batch.unlabelled, sides),
    )


def _cut(images: Tensor, sides: Sequence[int]) -> Tensor:
    for axis, side in enumerate(sides, start=images.ndim - len(sides)):
        if images.shape[axis] < side:
            images = torch.cat([images, images], axis)
        images = images.narrow(axis, 0, side)
    return images.clone()
