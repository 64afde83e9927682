"""Labels in which the class of some voxels is not known: what a loss of them is computed from.

A voxel in a scan that was not searched for some classes is of one of a set of classes. Its loss is
the marginal loss: the probabilities of the set are added up, and the sum is taught as the
background's (Shi et al., Marginal loss and exclusion loss for partially supervised multi-organ
segmentation, Medical Image Analysis 70, 101979, 2021; there for whole scans, here voxel by voxel).
"""

from __future__ import annotations

import torch
from torch import Tensor

from crossview.core.partial import IGNORED, PartialLabels
from crossview.methods.blocks.losses import at_least_float32

NEVER = -1e4
"""Logit of a class whose probability was added to the background's: 0 in float32."""


def known(
    logits: Tensor, label: Tensor, partial: PartialLabels | None, weight: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits, label and weight for a loss over the voxels whose class is known.

    Voxels that nobody labelled get weight 0, so they are in no sum of a loss, denominators
    included. In voxels of a set of classes, the background's logit becomes the logarithm of the
    sum of the exponentials of the set's logits, the others of the set become ``NEVER``, and the
    label becomes background. As in ``cross_entropy_dice(*known(logits, label, batch.partial))``.
    If ``partial`` is None, everything is returned as it is.

    Args:
        logits: (B, K, *S).
        label: Classes, or values of ``partial``, of any integer type (B, *S).
        partial: The batch's values that are no class, or None.
        weight: Weight of every voxel, (B, *S); None: 1.
    """
    if partial is None:
        return logits, label, weight
    searched = (label != IGNORED).to(torch.float32)
    for classes in partial.sets:
        logits, label = _merged(logits, label, label == partial.value(classes), classes)
    return logits, label, searched if weight is None else weight * searched


def _merged(
    logits: Tensor, label: Tensor, where: Tensor, classes: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Return logits and label with a set of classes, background first, merged where it is."""
    channels = list(at_least_float32(logits).unbind(1))
    together = torch.stack([channels[index] for index in classes]).logsumexp(0)
    for index in classes:
        value = channels[index].new_tensor(NEVER) if index else together
        channels[index] = torch.where(where, value, channels[index])
    return torch.stack(channels, 1), label.masked_fill(where, 0)
