"""What a method sees of the data: one batch, and no field for the labels of unlabelled images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from crossview.rng import Randomness


@dataclass(frozen=True)
class Batch:
    """One training batch.

    image: labelled images, float (B, C, *S). label: their classes, int64 (B, *S).
    unlabelled: images without labels, float (B', C, *S), or None in a stage that uses none.
    rng: the random streams of this step. show: whether the method should fill ``self.show`` with tensors for pictures.
    watch: whether it should fill ``self.health`` with scalars for the journal; neither may change the loss.
    """

    image: Tensor
    label: Tensor
    unlabelled: Tensor | None
    rng: Randomness
    show: bool = False
    watch: bool = False
