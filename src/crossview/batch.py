"""One batch, all that a method sees of the data, without labels of the unlabelled images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from crossview.rng import Randomness


@dataclass(frozen=True)
class Batch:
    """One training batch.

    Attributes:
        image: Labelled images, float (B, C, *S).
        label: Their classes, int64 (B, *S).
        unlabelled: Images without labels, float (B', C, *S); None in a stage that uses none.
        rng: The random streams of this step.
        show: True if the method should fill ``self.show`` with tensors for pictures. The loss must
            not depend on it.
        watch: True if the method should fill ``self.health`` with scalars for the journal. The
            loss must not depend on it.
    """

    image: Tensor
    label: Tensor
    unlabelled: Tensor | None
    rng: Randomness
    show: bool = False
    watch: bool = False
