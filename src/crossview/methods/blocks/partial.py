"""Labels in which the class of some voxels is not known: what a loss of them is computed from."""

from __future__ import annotations

import torch
from torch import Tensor

from crossview.core.partial import IGNORED, PartialLabels


def known(
    logits: Tensor, label: Tensor, partial: PartialLabels | None, weight: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits, label and weight for a loss over the voxels whose class is known.

    Voxels that nobody labelled get weight 0, so they are in no sum of a loss, denominators
    included. Use it as ``cross_entropy_dice(*known(logits, label, batch.partial))``. If ``partial``
    is None, everything is returned as it is.

    Args:
        logits: (B, K, *S).
        label: Classes, or values of ``partial``, of any integer type (B, *S).
        partial: The batch's values that are no class, or None.
        weight: Weight of every voxel, (B, *S); None: 1.
    """
    if partial is None:
        return logits, label, weight
    searched = (label != IGNORED).to(torch.float32)
    return logits, label, searched if weight is None else weight * searched
