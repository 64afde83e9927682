"""The decision of a model: exclusive classes by softmax, or regions by a sigmoid each.

All that training, prediction and doubt must know of it is here. A head's maps (M, *S) are the
probabilities that a predictor keeps: of the K-1 foreground classes, or of the regions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossview.core.partial import IGNORED, PartialLabels
from crossview.core.regions import Region, written
from crossview.methods.blocks.components import largest_components
from crossview.methods.blocks.losses import (
    at_least_float32,
    binary_cross_entropy_dice,
    cross_entropy_dice,
)
from crossview.methods.blocks.partial import known
from crossview.methods.blocks.pieces import without_small
from crossview.methods.blocks.pseudo_labels import clean_async, decide, first_largest

Label = NDArray[np.uint8]

Pair = tuple[Tensor, Tensor]
"""Predicted and true voxels of a class or region, bool (B, *S)."""


class Classes:
    """Every voxel is of one class: the softmax over K channels, the background first."""

    regions: tuple[Region, ...] = ()

    def channels(self, classes: int) -> int:
        """Return the number of a network's output channels for labels of ``classes`` classes."""
        return classes

    # Of logits (B, K, *S).

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities of logits, at least float32 (B, K, *S)."""
        return at_least_float32(logits).softmax(1)

    def as_logits(self, probabilities: Tensor) -> Tensor:
        """Return logits from which :meth:`from_logits` gives the probabilities."""
        return probabilities.log()

    def from_logits(self, logits: Tensor) -> Tensor:
        """Return the probabilities of which these are :meth:`as_logits`."""
        return logits.exp()

    def loss(self, logits: Tensor, target: Tensor, partial: PartialLabels | None = None) -> Tensor:
        """Return L_sup of logits, a scalar tensor.

        Args:
            logits: (B, K, *S).
            target: A label (B, *S), or what :meth:`decided` returns.
            partial: Values of the label that are no class, or None.
        """
        return cross_entropy_dice(*known(logits, target, partial))

    def decided(self, logits: Tensor) -> Tensor:
        """Return hard pseudo-labels of logits, uint8, no gradient."""
        return decide(logits)

    def clean_async(self, decided: Tensor, classes: int) -> Callable[[], Tensor]:
        """Start to keep the largest components; the function returned waits for the result."""
        return clean_async(decided, classes).result

    def shown(self, decided: Tensor) -> Tensor:
        """Return pseudo-labels as a label (B, *S)."""
        return decided

    def predicted(self, logits: Tensor) -> Tensor:
        """Return the predicted label (B, *S) of logits."""
        return logits.detach().argmax(1)

    def pairs(
        self, logits: Tensor, label: Tensor, partial: PartialLabels | None = None
    ) -> Iterator[Pair]:
        """Yield predicted and true voxels of each foreground class, where the class is known."""
        logits, label, weight = known(logits, label, partial)
        predicted = logits.detach().argmax(1)
        if weight is not None:
            predicted, label = predicted.where(weight > 0, 0), label.where(weight > 0, 0)
        for index in range(1, logits.shape[1]):
            yield predicted == index, label == index

    # Of maps (M, *S) of one image.

    background = True
    """True if the first of all probabilities is that of the background."""

    def maps(self, probabilities: Tensor) -> Tensor:
        """Return the maps (B, M, *S) of probabilities (B, K, *S)."""
        return probabilities[:, 1:]

    def every(self, maps: Tensor) -> Tensor:
        """Return all probabilities (K, *S) of maps."""
        return torch.cat([_rest(maps)[None], maps])

    def label(self, maps: Tensor) -> Tensor:
        """Return the label of maps, uint8 (*S). With two classes, foreground if p > 0.5."""
        return first_largest([_rest(maps), *maps])

    def distributions(self, maps: Tensor) -> Iterator[Tensor]:
        """Yield the distributions (K, *S) over exclusive outcomes that maps stand for."""
        yield self.every(maps)

    # Of labels and arrays.

    def masks(self, label: Any, maps: int) -> Iterator[Any]:
        """Yield the voxels of each foreground class or region of a label, an array or a tensor.

        maps: their number, M.
        """
        for index in range(1, maps + 1):
            yield label == index

    def largest(self, labels: Label, classes: int) -> Label:
        """Return labels (N, *S) with the largest component of each class or region only."""
        return largest_components(labels, classes)

    def without_small(self, label: Label, smallest: Sequence[float]) -> Label:
        """Return a label (*S) whose pieces below a number of voxels are removed.

        smallest: for each foreground class or region, the voxels of the smallest piece kept.
        """
        return without_small(label, smallest)

    def of_foreground(self, probability: NDArray[Any]) -> NDArray[Any]:
        """Return the maps (M, *S) of all probabilities (K, *S)."""
        return probability[1:]


CLASSES = Classes()


@dataclass(frozen=True)
class Regions(Classes):
    """Every region has a channel of its own and a sigmoid; a voxel can be of several regions.

    Pseudo-labels have a channel per region too: 1 where p > 0.5. Labels are written as by nnU-Net.
    """

    regions: tuple[Region, ...]

    background = False

    def channels(self, classes: int) -> int:
        return len(self.regions)

    def probabilities(self, logits: Tensor) -> Tensor:
        return at_least_float32(logits).sigmoid()

    def as_logits(self, probabilities: Tensor) -> Tensor:
        return probabilities.logit()

    def from_logits(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def loss(self, logits: Tensor, target: Tensor, partial: PartialLabels | None = None) -> Tensor:
        if target.ndim == logits.ndim:
            return binary_cross_entropy_dice(logits, target)
        weight = None if partial is None else target != IGNORED
        return binary_cross_entropy_dice(logits, self._truth(target), weight)

    def decided(self, logits: Tensor) -> Tensor:
        return (logits.detach() > 0).to(torch.uint8)

    def clean_async(self, decided: Tensor, classes: int) -> Callable[[], Tensor]:
        pending = clean_async(decided.flatten(0, 1), 2)
        return lambda: pending.result().view(decided.shape)

    def shown(self, decided: Tensor) -> Tensor:
        return self._written(decided.unbind(1))

    def predicted(self, logits: Tensor) -> Tensor:
        return self.shown(self.decided(logits))

    def pairs(
        self, logits: Tensor, label: Tensor, partial: PartialLabels | None = None
    ) -> Iterator[Pair]:
        searched = torch.ones_like(label, dtype=torch.bool) if partial is None else label != IGNORED
        for mine, region in zip(self.decided(logits).unbind(1), self.regions, strict=True):
            yield (mine > 0) & searched, region.mask(label)

    def maps(self, probabilities: Tensor) -> Tensor:
        return probabilities

    def every(self, maps: Tensor) -> Tensor:
        return maps

    def label(self, maps: Tensor) -> Tensor:
        return self._written([each > 0.5 for each in maps])

    def distributions(self, maps: Tensor) -> Iterator[Tensor]:
        for each in maps:
            yield torch.stack([1 - each, each])

    def masks(self, label: Any, maps: int) -> Iterator[Any]:
        for region in self.regions:
            yield region.mask(label)

    def largest(self, labels: Label, classes: int) -> Label:
        def largest(mask: Label, _: int) -> Any:
            return largest_components(mask[None], 2)[0]

        return (
            np.stack([self._cleaned(each, largest) for each in labels]) if len(labels) else labels
        )

    def without_small(self, label: Label, smallest: Sequence[float]) -> Label:
        return self._cleaned(label, lambda mask, index: without_small(mask, [smallest[index]]))

    def _cleaned(self, label: Label, clean: Callable[[Label, int], Any]) -> Label:
        """Return a label with each region cleaned, inside the regions that contain it.

        clean: the cleaned mask of a region, from the mask and the region's place.
        """
        kept: list[NDArray[np.bool_]] = []
        for index, region in enumerate(self.regions):
            mask = region.mask(label)
            for outer, found in zip(self.regions, kept, strict=False):
                if {*region.classes} < {*outer.classes}:
                    mask = mask & found
            kept.append(clean(mask.view(np.uint8), index) > 0)
        return written(kept, self.regions)

    def of_foreground(self, probability: NDArray[Any]) -> NDArray[Any]:
        return probability

    def _truth(self, label: Tensor) -> Tensor:
        """Return the voxels of each region of a label (B, *S), bool (B, R, *S)."""
        return torch.stack([region.mask(label) for region in self.regions], 1)

    def _written(self, masks: Sequence[Tensor]) -> Tensor:
        label = torch.zeros_like(masks[0], dtype=torch.uint8)
        for mask, region in zip(masks, self.regions, strict=True):
            label.masked_fill_(mask > 0, region.written)
        return label


def head_of(regions: tuple[Region, ...]) -> Classes:
    """Return the head of a model of these regions; of exclusive classes if there are none."""
    return Regions(regions) if regions else CLASSES


def _rest(maps: Tensor) -> Tensor:
    """Return the probability of the background, (K-1, *S) -> (*S).

    With two classes arg-max is exact: 1 - p is rounded to less than p only for p > 0.5.
    """
    return (1 - maps.sum(0)).clamp_(min=0)
