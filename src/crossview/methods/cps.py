"""CPS: cross pseudo supervision (Chen et al., CVPR 2021, arXiv 2106.01226).

Two networks of the same architecture start from different weights and teach each other with hard
pseudo-labels. With x labelled images, y labels, u unlabelled images, z_i the logits of network i:

    S_i = (cross-entropy + batch Dice)(z_i(x), y) / 2
    h_i = arg-max z_i(u), no gradient, no threshold
    X_1 = cross-entropy(z_1(u), h_2),   X_2 = cross-entropy(z_2(u), h_1)
    L   = S_1 + S_2 + w(step) (X_1 + X_2)

The equations are those of the medical form in HiLab-git/SSL4MIS@06df604; the article was not
available. CPS is the nearest relative of CML. With ``cutmix`` the networks see mix(u_a, u_b; M),
one random box per batch, and are taught by the mix of the other network's labels of u_a and u_b.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from crossview.core.tensors import Batch
from crossview.methods.bases import ConsistencyOptions, both_images
from crossview.methods.blocks.health import foreground_share, mean_dice
from crossview.methods.blocks.losses import cross_entropy, cross_entropy_batch_dice, softmax
from crossview.methods.blocks.mixing import Box, halves, mix, random_box
from crossview.methods.blocks.partial import known
from crossview.methods.method import BuildNetwork, Method, Stage, Terms


class CPSOptions(ConsistencyOptions):
    """Keys of [method] for CPS."""

    initialisation: Literal["kaiming_xavier", "default"] = Field(
        "kaiming_xavier",
        description="kaiming_xavier: convolutions of network 1 start Kaiming normal, "
        "those of network 2 Xavier normal; default: as torch initialises them",
    )
    answer: Literal["mean", "network1"] = Field(
        "mean",
        description="the method's prediction: from the mean logits, or from network 1 alone",
    )
    cutmix: bool = Field(
        False, description="mix the halves of the unlabelled batch with one random box, as in CML"
    )
    box: float = Field(
        2 / 3, gt=0, lt=1, description="with cutmix: side of the box as a share of the patch"
    )


class CPS(Method):
    """Two networks, one stage."""

    Options = CPSOptions
    recordable = True
    partial_labels = True
    options: CPSOptions

    def __init__(self, options: CPSOptions, build_network: BuildNetwork) -> None:
        super().__init__(options, build_network)
        self.network1, self.network2 = build_network(), build_network()
        if options.initialisation == "kaiming_xavier":
            initialise(self.network1, nn.init.kaiming_normal_)
            initialise(self.network2, nn.init.xavier_normal_)

    @classmethod
    def halved(cls, options: CPSOptions) -> tuple[str, ...]:
        return ("unlabelled_batch",) if options.cutmix else ()

    def loss(self, batch: Batch, stage: Stage, step: int) -> Terms:
        x, u = both_images(batch)
        box = self.random_box(batch) if self.options.cutmix else None
        image = u if box is None else mix(*halves(u), box)
        z1, z2 = (
            torch.split(logits, [len(x), len(image)]) for logits in self.both(torch.cat([x, image]))
        )
        h1, h2 = (
            (z1[1].detach().argmax(1), z2[1].detach().argmax(1))
            if box is None
            else self.mixed_labels(u, box)
        )
        self.note(
            batch,
            lambda: (
                {"target by network1": h1, "target by network2": h2}
                | ({} if box is None else {"unlabelled mix": image})
            ),
            lambda: {
                "network1 labelled Dice": mean_dice(*known(z1[0], batch.label, batch.partial)),
                "network1 pseudo-label share": foreground_share(h1),
                "network2 labelled Dice": mean_dice(*known(z2[0], batch.label, batch.partial)),
                "network2 pseudo-label share": foreground_share(h2),
            },
        )
        weight = self.options.weight(step)
        return {
            "network1 labelled": cross_entropy_batch_dice(
                *known(z1[0], batch.label, batch.partial)
            ),
            "network1 unlabelled": weight * cross_entropy(z1[1], h2),
            "network2 labelled": cross_entropy_batch_dice(
                *known(z2[0], batch.label, batch.partial)
            ),
            "network2 unlabelled": weight * cross_entropy(z2[1], h1),
        }

    @property
    def passes_at_once(self) -> int:
        return 2

    def both(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of both networks."""
        first, second = self.together(partial(self.network1, image), partial(self.network2, image))
        return first.logits, second.logits

    def random_box(self, batch: Batch) -> Box:
        return random_box(
            tuple(batch.image.shape[2:]), self.options.box, batch.rng.host("unlabelled box")
        )

    def mixed_labels(self, u: Tensor, box: Box) -> tuple[Tensor, Tensor]:
        """Return mix(h_i(u_a), h_i(u_b); M) of both networks, predicted on the unmixed images."""
        with torch.no_grad():
            h1, h2 = (mix(*halves(logits.argmax(1)), box) for logits in self.both(u))
        return h1, h2

    def views(self, image: Tensor) -> Mapping[str, Tensor]:
        first, second = self.both(image)
        return {"network1": first, "network2": second}

    def combine(self, views: Mapping[str, Tensor]) -> Tensor:
        return (
            softmax(views["network1"])
            if self.options.answer == "network1"
            else super().combine(views)
        )


def initialise(network: nn.Module, draw: Callable[[Tensor], Tensor]) -> None:
    """Draw the weights of every convolution; keep transposed convolutions and biases, as released.

    Weights on the device "meta" (when only the stages are wanted) are skipped: to draw them, torch
    would import its compiler.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d) and not module.weight.is_meta:
            draw(module.weight)
