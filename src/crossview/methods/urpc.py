"""URPC: uncertainty-rectified pyramid consistency (Luo et al., MICCAI 2021).

Also in Medical Image Analysis 80, 102517, 2022. One network, one pass. The logits z_k of n
resolutions, k = 0 the full one, are resized to the input and are trained to agree on unlabelled
images u, with less weight where they disagree. With x labelled images, y labels, p_k = softmax z_k:

    L_s = mean_k (cross-entropy + batch Dice)(z_k(x), y) / 2
    m   = mean_k p_k(u)
    v_k = sum over classes of m log(m / p_k)                     the disagreement, per voxel
    w_k = exp(-v_k)
    L_k = mean(w_k (m - p_k)^2) / (mean w_k + 1e-8) + mean v_k   means over samples and voxels,
                                                                 of the square also over classes
    L   = L_s + w(step) mean_k L_k

The gradient also flows through m, as released (HiLab-git/SSL4MIS@06df604). There are four
resolutions, or all of a network that has fewer. The prediction is that of k = 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from crossview.core.tensors import Batch
from crossview.methods.bases import ConsistencyOptions, both_images
from crossview.methods.blocks.health import foreground_share, mean_dice
from crossview.methods.blocks.losses import cross_entropy_batch_dice, log_softmax
from crossview.methods.blocks.partial import known
from crossview.methods.method import BuildNetwork, Method, Stage, Terms


class URPCOptions(ConsistencyOptions):
    """Keys of [method] for URPC."""

    scales: int = Field(
        3,
        ge=1,
        le=3,
        description="auxiliary resolutions besides the full one; fewer if the network has fewer",
    )
    detach_mean: bool = Field(
        False,
        description="stop the gradient through m, so that no scale pulls the mean towards itself",
    )


class URPC(Method):
    """One network with auxiliary heads, one stage."""

    Options = URPCOptions
    partial_labels = True
    options: URPCOptions

    def __init__(self, options: URPCOptions, build_network: BuildNetwork) -> None:
        super().__init__(options, build_network)
        self.network = build_network(scales=options.scales)

    def loss(self, batch: Batch, stage: Stage, step: int) -> Terms:
        x, u = both_images(batch)
        output = self.network(torch.cat([x, u]))
        scales = [logits.split([len(x), len(u)]) for logits in (output.logits, *output.scales)]
        supervised = torch.stack(
            [
                cross_entropy_batch_dice(*known(labelled, batch.label, batch.partial))
                for labelled, _ in scales
            ]
        ).mean()
        consistency, disagreement = rectified_consistency(
            [unlabelled for _, unlabelled in scales], self.options.detach_mean
        )
        pseudo_label = scales[0][1].detach().argmax(1)
        self.note(
            batch,
            lambda: {
                "unlabelled prediction": pseudo_label,
                "disagreement of scales": disagreement.mean(0),
            },
            lambda: {
                **{
                    f"scale {k} labelled Dice": mean_dice(
                        *known(labelled, batch.label, batch.partial)
                    )
                    for k, (labelled, _) in enumerate(scales)
                },
                **{f"scale {k} disagreement": v.mean() for k, v in enumerate(disagreement)},
                "unlabelled foreground share": foreground_share(pseudo_label),
            },
        )
        return {"labelled": supervised, "consistency": self.options.weight(step) * consistency}

    def views(self, image: Tensor) -> Mapping[str, Tensor]:
        return {"network": self.network(image).logits}


def rectified_consistency(
    scales: Sequence[Tensor], detach_mean: bool = False
) -> tuple[Tensor, Tensor]:
    """Return mean_k L_k of the logits z_k (B, K, *S) of n scales, and v_k (n, B, *S), no gradient.

    Computed with logarithms, so a probability that underflows has a finite loss and gradient.
    """
    logarithms = [log_softmax(logits) for logits in scales]
    log_mean = torch.stack(logarithms).logsumexp(0) - math.log(len(scales))
    log_mean = log_mean.detach() if detach_mean else log_mean
    mean = log_mean.exp()
    losses, disagreement = [], []
    for logarithm in logarithms:
        v = (mean * (log_mean - logarithm)).sum(1)
        w = (-v).exp()
        square = (mean - logarithm.exp()).square()
        losses.append((w.unsqueeze(1) * square).mean() / (w.mean() + 1e-8) + v.mean())
        disagreement.append(v.detach())
    return torch.stack(losses).mean(), torch.stack(disagreement)
