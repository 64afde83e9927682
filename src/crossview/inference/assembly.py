"""The prediction of one image, put together from blocks of its maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossview.data.io.volumes import Volumes
from crossview.data.padding import Box, sides
from crossview.inference.doubt import entropy_of_maps, uncertainty
from crossview.inference.rows import RowResampling
from crossview.methods.heads import CLASSES, Classes

Label = NDArray[np.uint8]

Map = NDArray[np.float32] | Volumes

MapName = Literal["probability", "disagreement", "entropy"]

IN_MEMORY = 2**27
"""Bytes of a map (a fifth of a scan of 512 x 512 x 300 voxels is 63 MB); larger ones go to disk."""


@dataclass(frozen=True)
class Wanted:
    """The parts of a prediction that are computed.

    Attributes:
        maps: Names of the maps.
        views: True for each view's label, and the label with the other clean-up.
        folder: Where large maps are kept until they are written; None keeps all in memory.
        expected: True for the Dice that the probabilities promise.
    """

    maps: tuple[MapName, ...] = ("probability", "disagreement")
    views: bool = True
    folder: Path | None = None
    expected: bool = False

    def of_views(self, peers: bool) -> bool:
        """True if the maps of the views are needed, not only their combination."""
        return self.views or ("disagreement" in self.maps and peers)


@dataclass(frozen=True)
class Segmentation:
    """A prediction as it is assembled.

    Attributes:
        labels: Uint8 (N, *S), the combination first, then the views if they are wanted.
        others: The labels with the other clean-up, likewise; empty unless wanted.
        maps: The maps wanted, float32 (K, *S) or (*S).
        finite: True if no probability is NaN or infinite.
        expected: The Dice that the label would have if the probabilities were right, before the
            clean-up: 2 sum_{v in label} p_v / (sum_v p_v + |label|), the mean over the classes or
            regions that are found. NaN if none is, or if it is not wanted.
    """

    labels: Label
    others: Label
    maps: Mapping[str, Map]
    finite: bool
    expected: float = math.nan

    @property
    def label(self) -> Label:
        """Label of the combination, uint8 (*S)."""
        label: Label = self.labels[0]
        return label


class Assembly:
    """Collects the blocks of maps (1 + views, K-1, *rows) of one image.

    Each block is resampled to the grid that is wanted, decided and dropped. The uncertainty is
    computed on the maps' own grid and then resampled.

    Args:
        there: Shape *S' of the maps.
        shape: Shape *S of the grid that is wanted.
        axis: Axis along which the rows come.
        wanted: The parts of the prediction that are computed.
        peers: True if the views are networks trained next to each other.
        box: The part of the grid that the maps show; the rest is background.
        head: The decision of the model.
    """

    def __init__(
        self,
        there: Sequence[int],
        shape: Sequence[int],
        axis: int,
        wanted: Wanted,
        peers: bool,
        box: Box = (),
        head: Classes = CLASSES,
    ) -> None:
        self.head = head
        self.box, self.whole = box, tuple(shape)
        shape = sides(box, shape)
        self.there, self.shape, self.axis = tuple(there), shape, axis
        self.wanted, self.peers = wanted, peers
        self.grids: list[RowResampling] = []
        self.spread = RowResampling(there, shape, axis)
        self.labels = np.empty(0, np.uint8)
        self.maps: dict[str, Map] = {}
        self.filled: dict[str, int] = {}
        self.seen = self.rows = self.classes = 0
        self.finite = True
        self.sums = np.zeros((3, 0))

    @property
    def complete(self) -> bool:
        """True if every row has come."""
        return self.seen == self.there[self.axis]

    def add(self, maps: Tensor) -> None:
        """Add the next rows."""
        if not self.grids:
            self.classes = maps.shape[1] + 1
            decided = len(maps) if self.wanted.views else 1
            self.grids = [RowResampling(self.there, self.shape, self.axis) for _ in range(decided)]
            self.labels = np.empty((decided, *self.shape), np.uint8)
            self.sums = np.zeros((3, len(maps[0])))
        self.seen += maps.shape[2 + self.axis]
        if "disagreement" in self.wanted.maps:
            self._put("disagreement", self.spread.add(_uncertainty(maps, self.peers, self.head)))
        rows = 0
        for index, (foreground, grid) in enumerate(zip(maps, self.grids, strict=False)):
            on_grid = grid.add(foreground)
            if not on_grid.numel():
                continue
            rows = on_grid.shape[1 + self.axis]
            place = (index, *self._rows(self.rows, rows))
            decision = self.head.label(on_grid)
            self.labels[place] = decision.cpu().numpy()
            if index == 0:
                self._add_to_sums(decision, on_grid)
                self.finite = self.finite and math.isfinite(float(on_grid.sum()))
                self._put_of_classes(on_grid)
            # Freed before the next view.
            del on_grid, decision
        self.rows += rows

    def result(self, largest_component: bool, smallest: Sequence[float] = ()) -> Segmentation:
        """Return the prediction, cleaned up.

        smallest: for each foreground class or region, the voxels of the smallest piece kept.
        """
        both = self.wanted.views
        others = self.labels[:0]
        labels = self.labels
        if largest_component or both:
            cleaned = self.head.largest(labels if largest_component else labels[:1], self.classes)
            labels, others = (cleaned, labels) if largest_component else (labels, cleaned)
        others = others if both else labels[:0]
        if smallest:
            labels, others = (
                np.stack([self.head.without_small(label, smallest) for label in each])
                if len(each)
                else each
                for each in (labels, others)
            )
        if self.shape == self.whole:
            return Segmentation(labels, others, self.maps, self.finite, self._expected())
        maps = {name: self._framed_map(name, values) for name, values in self.maps.items()}
        labels, others = self._framed(labels), self._framed(others)
        return Segmentation(labels, others, maps, self.finite, self._expected())

    def _add_to_sums(self, decision: Tensor, foreground: Tensor) -> None:
        """Add rows to each map's voxels, and its probability in them and everywhere."""
        if not self.wanted.expected:
            return
        masks = self.head.masks(decision, len(foreground))
        for index, (probability, mask) in enumerate(zip(foreground, masks, strict=True)):
            inside = probability[mask].sum(dtype=torch.float64)
            everywhere = probability.sum(dtype=torch.float64)
            self.sums[:, index] += [float(mask.sum()), float(inside), float(everywhere)]

    def _expected(self) -> float:
        """Return the Dice that the probabilities promise, see :class:`Segmentation`."""
        size, inside, everywhere = self.sums[:, self.sums[0] > 0]
        return float(np.mean(2 * inside / (everywhere + size))) if size.size else math.nan

    def _framed(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return an array (..., *box) on the whole grid; the rest is 0."""
        framed = np.zeros((*values.shape[: -len(self.whole)], *self.whole), values.dtype)
        place: Any = (..., *self.box)
        framed[place] = values
        return framed

    def _framed_map(self, name: str, values: Map) -> Map:
        """Return a map on the whole grid: outside the box, the background is certain."""
        certain = name == "probability" and self.head.background
        if isinstance(values, Volumes):
            return values.framed(self.whole, self.box, certain)
        framed = self._framed(values)
        if certain:
            outside = np.ones(self.whole, np.float32)
            outside[self.box] = 0
            framed[0] += outside
        return framed

    def _put_of_classes(self, foreground: Tensor) -> None:
        """Add rows to the maps that are made of all probabilities on the wanted grid."""
        if "probability" in self.wanted.maps:
            self._put("probability", self.head.every(foreground))
        if "entropy" in self.wanted.maps:
            self._put("entropy", entropy_of_maps(foreground, self.head))

    def _put(self, name: MapName, rows: Tensor) -> None:
        """Add rows (*rows) or (K, *rows) to a map."""
        if not rows.numel():
            return
        leading = rows.shape[: rows.ndim - len(self.shape)]
        if name not in self.maps:
            self.maps[name] = self._empty((*leading, *self.shape))
            self.filled[name] = 0
        values, there = rows.cpu().numpy(), self.maps[name]
        if isinstance(there, Volumes):
            there.add(values)
        else:
            count = values.shape[len(leading) + self.axis]
            there[(..., *self._rows(self.filled[name], count))] = values
            self.filled[name] += count

    def _empty(self, shape: tuple[int, ...]) -> Map:
        small = len(self.shape) == 2 or 4 * math.prod(shape) <= IN_MEMORY
        if self.wanted.folder is None or small:
            return np.empty(shape, np.float32)
        return Volumes(shape, self.axis, self.wanted.folder)

    def _rows(self, first: int, count: int) -> tuple[Any, ...]:
        """Return the place of rows in an array (*S)."""
        place = [slice(None)] * len(self.shape)
        place[self.axis] = slice(first, first + count)
        return tuple(place)


SLAB = 32
"""Rows of a volume whose uncertainty is computed at once."""


def _uncertainty(maps: Tensor, peers: bool, head: Classes) -> Tensor:
    return torch.cat([uncertainty(slab, peers, head) for slab in torch.split(maps, SLAB, dim=2)])
