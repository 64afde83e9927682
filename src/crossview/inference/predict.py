"""Predictions of whole images by a trained method."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crossview.core.errors import fail
from crossview.core.memory import give_back
from crossview.core.progress import Progress
from crossview.inference.assembly import SLAB, Assembly, Segmentation, Wanted
from crossview.inference.doubt import entropy_of_maps
from crossview.inference.items import AnyItem
from crossview.inference.options import InferenceOptions, windows_fit
from crossview.inference.threads import BatchThreads, one_thread, without_threads
from crossview.inference.windows import BLOCK, Parts, Slices, SliceWindows, Windows, run_batches
from crossview.methods.heads import CLASSES, Classes
from crossview.methods.method import Method

Label = NDArray[np.uint8]


@dataclass(frozen=True)
class Prediction:
    """A method's prediction of one image (C, *S), on the requested grid.

    Attributes:
        label: The most probable class, uint8 (*S). A tie goes to the lower class, so a foreground
            probability must exceed 0.5.
            Of regions: the class written for the last region with a probability above 0.5.
        probability: Probabilities of the classes or regions, float32 (K, *S), the mean over the
            windows that cover a voxel.
        views: Label of each network by its name, cleaned like ``label``; empty if the method has
            one network.
        other: The label with the other clean-up: only the largest component of each class if
            ``label`` has all components, and the reverse. Small pieces are left out of both.
        disagreement: Float32 (*S) in 0..1: of the views, or the entropy of the prediction if there
            is one network or the views are not peers (an averaged teacher agrees with its student,
            right or wrong). See :mod:`crossview.inference.doubt`.
        peers: True if the views are networks trained next to each other.
        expected: The Dice that the probabilities promise, see
            :class:`~crossview.inference.assembly.Segmentation`.
        head: The decision of the model.
    """

    label: Label
    probability: NDArray[np.float32]
    views: dict[str, Label]
    other: Label
    disagreement: NDArray[np.float32]
    peers: bool = True
    expected: float = math.nan
    head: Classes = CLASSES

    @property
    def entropy(self) -> NDArray[np.float32]:
        """Normalised entropy of the probabilities, float32 (*S): 0 certain, 1 all classes equal."""
        maps = torch.from_numpy(self.head.of_foreground(self.probability))
        slabs = torch.split(maps, SLAB, dim=1)
        return torch.cat([entropy_of_maps(slab, self.head) for slab in slabs]).numpy()

    @property
    def of_peers(self) -> bool:
        """True if ``disagreement`` is that of peer views; otherwise it is the entropy."""
        return self.peers and len(self.views) > 1

    @property
    def finite(self) -> bool:
        """True if no probability is NaN or infinite; otherwise the label is meaningless."""
        return bool(np.isfinite(self.probability.sum(dtype=np.float64)))


class Predictor:
    """A predictor of whole images with one method; images share batches.

    The method's modes, weights and gradients, and every random state, are unchanged whenever the
    caller has control, so an evaluation can't disturb training.

    Args:
        method: The trained method.
        options: The table [inference]. Windows run in each slice of a volume (D, H, W) if the patch
            has two sides. The largest component of each class is that of the whole volume in all
            modes (26 neighbours; 8 in an image). Flips are the image's reflections along the first
            axis of the patch, the second and both.
        patch: Size of a window or slice in voxels.
        device: Where the forward passes run.
        precision: Of the forward passes.
        progress: Called after each batch with the windows or slices done and those known.
        passes: A context around the forward passes of each batch, for example to record them.

    Raises:
        UserError: If patch and stride leave voxels uncovered.
    """

    def __init__(
        self,
        method: Method,
        options: InferenceOptions,
        patch: Sequence[int],
        *,
        device: torch.device,
        precision: Literal["float32", "bf16"] = "float32",
        progress: Progress | None = None,
        passes: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        if options.mode == "windows" and not windows_fit(options.stride, patch):
            fail(
                "the stride of the windows does not fit the patch",
                "[inference] stride",
                found=f"{list(options.stride)} for a patch of {list(patch)}",
                expected="one number per axis, from 1 to the side of the patch",
            )
        if options.mode == "slices" and len(patch) != 2:
            fail(
                "slices need a patch with two sides",
                "[data] patch",
                found=list(patch),
                expected="two numbers, such as [256, 256]",
            )
        self.method, self.options, self.patch = method.to(device), options, tuple(patch)
        self.flips = ((), (2,), (3,), (2, 3)) if options.flips else ((),)
        self.device, self.precision = device, precision
        self.progress, self.passes = progress, passes
        self.threads = BatchThreads(self.device, options.batch)
        self._views: tuple[str, ...] = ()

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Accepted numbers of spatial axes: 3 for a 3D patch; 2 or 3 (a stack) for a 2D patch."""
        return (2, 3) if len(self.patch) == 2 else (3,)

    def predict(self, items: Iterable[AnyItem]) -> Iterator[tuple[AnyItem, Prediction]]:
        """Predict items in order, each as soon as its last window has run.

        Args:
            items: Images, float32 (C, *S'), each with the shape *S of the grid that its prediction
                is wanted on.

        Yields:
            Each item with its prediction. Probabilities are resampled to *S before the class is
            chosen. Outside of an item's box all is background.

        Raises:
            ValueError: If an image has the wrong number of axes or an empty one.
        """
        for item, found in self.segment(items, Wanted(expected=True)):
            views = dict(zip(self._views, found.labels[1:], strict=True))
            maps = {name: np.asarray(values) for name, values in found.maps.items()}
            yield (
                item,
                Prediction(
                    found.label,
                    maps["probability"],
                    views,
                    found.others[0],
                    maps["disagreement"],
                    self.method.peers,
                    found.expected,
                    self.method.head,
                ),
            )

    def segment(
        self, items: Iterable[AnyItem], wanted: Wanted
    ) -> Iterator[tuple[AnyItem, Segmentation]]:
        """Predict items in order, as :meth:`predict`, but only the parts that are wanted.

        The memory of the maps does not grow with the image beyond the rows of a window, if
        ``wanted.folder`` is given.
        """
        done = total = 0

        def parts(item: AnyItem) -> tuple[tuple[AnyItem, Assembly], Parts]:
            nonlocal total
            image = item.image
            taken_apart = self.parts(image)
            total += len(taken_apart)
            axis, peers = taken_apart.axis, self.method.peers
            shapes, head = (image.shape[1:], item.shape), self.method.head
            assembly = Assembly(*shapes, axis, wanted, peers, item.box, head)
            return (item, assembly), taken_apart

        def network(image: Tensor) -> Iterable[Tensor]:
            nonlocal done
            maps = self._maps(image, wanted.of_views(self.method.peers))
            done += len(image)
            if self.progress is not None:
                self.progress(done, total)
            return maps

        def assemble(
            found: tuple[tuple[AnyItem, Assembly], Tensor],
        ) -> tuple[AnyItem, Segmentation] | None:
            (item, assembly), block = found
            assembly.add(block)
            if block.numel() >= BLOCK // 2:
                give_back()
            if not assembly.complete:
                return None
            minimum = self.options.minimum_of(assembly.classes)
            smallest = [volume / item.voxel for volume in minimum]
            return item, assembly.result(self.options.largest_component, smallest)

        blocks = run_batches(map(parts, items), network, self.options.batch)
        assembled = (found for found in map_ahead(assemble, blocks) if found is not None)
        yield from without_threads(assembled) if self.device.type == "cpu" else assembled

    def parts(self, image: NDArray[np.float32]) -> Parts:
        """Return the windows or slices of an image (C, *S')."""
        if image.ndim - 1 not in self.dimensions or 0 in image.shape:
            raise ValueError(
                f"image of shape {image.shape} does not fit {self.options.mode} of {self.patch}; "
                "channels come first"
            )
        # Shared with the caller's array if it can be: a large scan is held once.
        tensor = torch.from_numpy(np.require(image, np.float32, ["C", "W"])).to(self.device)
        if self.options.mode == "slices":
            return Slices(tensor, self.patch)
        return (Windows if tensor.ndim - 1 == len(self.patch) else SliceWindows)(
            tensor, self.patch, self.options.stride, self.options.window
        )

    def _maps(self, image: Tensor, of_views: bool) -> Iterable[Tensor]:
        """Return the head's maps (1 + views, M, *patch) of each sample of a batch.

        The combination comes first; a single view is not repeated, and no view is computed unless
        ``of_views``. The background of classes needs neither memory nor time.
        """
        with evaluating(self.method), self.passes():
            return self.threads.map(lambda part: self._reflected(part, of_views), image)

    @torch.no_grad()
    def _reflected(self, image: Tensor, of_views: bool) -> Tensor:
        """Return the mean maps over the image and its reflections."""
        reflected = (
            self._foreground(image.flip(axes), of_views).flip([axis + 1 for axis in axes])
            for axes in self.flips
        )
        total = next(reflected)
        for maps in reflected:
            total += maps
        return total.div_(len(self.flips)) if len(self.flips) > 1 else total

    def _foreground(self, image: Tensor, of_views: bool) -> Tensor:
        layout = torch.channels_last if image.ndim == 4 else torch.channels_last_3d
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
        ):
            views = self.method.views(image.contiguous(memory_format=layout))
        views = {name: logits.float() for name, logits in views.items()}
        self._views = tuple(views) if len(views) > 1 else ()
        decided = self._views if of_views else ()
        head = self.method.head
        combined = head.maps(self.method.combine(views))
        maps = combined.new_empty((len(combined), 1 + len(decided), *combined.shape[1:]))
        maps[:, 0] = combined
        del combined
        for index, name in enumerate(decided, 1):
            # With many classes each of these is large, so it is freed before the next is made.
            maps[:, index] = head.maps(head.probabilities(views.pop(name)))
        return maps

    def of_peers(self) -> bool:
        """True if there are peer views, known once an item has been predicted."""
        return self.method.peers and len(self._views) > 1


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode; on exit, restore the mode of every submodule."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


Source = TypeVar("Source")

Result = TypeVar("Result")


def map_ahead(function: Callable[[Source], Result], items: Iterable[Source]) -> Iterator[Result]:
    """Yield ``map(function, items)``; ``function`` runs in a thread, one item ahead of the results.

    An error is raised in place of its item's result. The thread uses one thread of torch's: the
    others belong to the forward passes.
    """
    with one_thread() as thread:
        running: Future[Result] | None = None
        for item in items:
            finished, running = running, thread.submit(function, item)
            del item  # a large scan is not kept while the next one is made
            if finished is not None:
                yield finished.result()
        if running is not None:
            yield running.result()
