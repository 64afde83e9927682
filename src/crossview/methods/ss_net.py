"""SS-Net: smoothness and class separation (Wu et al., MICCAI 2022).

doi 10.1007/978-3-031-16443-9_4. One network with logits z and two regularisers on all images. The
prediction must withstand the worst small change of an image, and features h (the input of the last
convolution) must be near the stored features of their class. With x labelled images, y labels,
u unlabelled images, p = softmax z, D a Dice loss of two soft segmentations, sg no gradient:

    L_s     = D(p(x), y)
    smooth:   p* = sg p(x, u),  r = noise of length 1
              d = unit gradient with respect to r of D(p(x, u + xi r), p*)
              L_v = D(p(x, u + eps d), p*)
    memory:   M_c = the g(h) of correctly predicted voxels of class c with the highest
              sigmoid S_c(g(h)), no gradient
    contrast: f = q(g(h)) of class c, by label on x, by prediction on u
              a_i ~ sigmoid S_c(sg f_i),  b_j ~ sigmoid R_c(m_j/|m_j|)
              L_c = mean_ij a_i b_j (1 - cos(f_i, m_j)),  a and b of mean 1
    L       = L_s + w(step) [L_v + w_c (mean_c L_c(x) + mean_c L_c(u))]

g projects, q predicts, S_c and R_c score features of class c = 1, 2, ...; the background has no
memory. The equations are those of the code (ycwu1997/SS-Net@c0a8bf6) except where an option says
that it differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from crossview.core.tensors import Batch, Output
from crossview.methods.bases import ConsistencyOptions, both_images
from crossview.methods.blocks.adversarial import (
    adversarial_direction,
    frozen_statistics,
    uniform_noise,
)
from crossview.methods.blocks.contrast import ClassMemory, weighted_distance
from crossview.methods.blocks.health import foreground_share, mean_dice
from crossview.methods.blocks.losses import (
    classwise_dice_loss,
    cross_entropy,
    pooled_dice_loss,
    softmax,
)
from crossview.methods.blocks.partial import known
from crossview.methods.method import BuildNetwork, Method, Stage, Terms

WIDTH = 32
"""Width of the features that g and q return."""


class SSNetOptions(ConsistencyOptions):
    """Keys of [method] for SS-Net."""

    dice: Literal["pooled", "classwise"] = Field(
        "classwise",
        description="D: all classes in one sum (released for LA), or the mean over classes",
    )
    cross_entropy: bool = Field(
        False, description="make L_s half cross-entropy, half D; released: D alone"
    )
    probe: float = Field(
        10.0, gt=0, description="xi: length of the noise at which the worst direction is sought"
    )
    radius: float = Field(
        10.0,
        gt=0,
        description="eps: length of the adversarial change of an image; released for ACDC: 6",
    )
    contrast_weight: float = Field(0.1, ge=0, description="w_c")
    contrast_positions: int = Field(
        0,
        ge=0,
        description="voxels drawn from the labelled and from the unlabelled images for L_c; "
        "0: all, as released",
    )
    memory_size: int = Field(32, ge=2, le=65536, description="features stored per class")
    memory_keeps: Literal["highest", "lowest"] = Field(
        "highest", description="store the features with these scores; released: lowest"
    )
    memory_scores: bool = Field(
        True, description="weigh the memory by R_c; no effect in the release, where b_j = 1"
    )
    contrast_mean: Literal["contributing", "all"] = Field(
        "contributing",
        description="classes over which L_c is averaged; released: all, with background",
    )

    @field_validator("contrast_positions")
    @classmethod
    def _more_than_one(cls, positions: int) -> int:
        if positions == 1:
            raise ValueError("a single voxel has no contrast: set 0 for all voxels, or at least 2")
        return positions


def two_layers(inputs: int) -> nn.Sequential:
    """Return g or q: (N, inputs) -> (N, 32)."""
    return nn.Sequential(
        nn.Linear(inputs, WIDTH),
        nn.BatchNorm1d(WIDTH),
        nn.ReLU(inplace=True),
        nn.Linear(WIDTH, WIDTH),
    )


def selector() -> nn.Sequential:
    """Return S_c or R_c: (N, 32) -> (N, 1)."""
    return nn.Sequential(
        nn.Linear(WIDTH, WIDTH),
        nn.BatchNorm1d(WIDTH),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Linear(WIDTH, 1),
    )


class SSNet(Method):
    """One network, heads on its features, and a memory; one stage."""

    Options = SSNetOptions
    partial_labels = True
    options: SSNetOptions

    def __init__(self, options: SSNetOptions, build_network: BuildNetwork) -> None:
        super().__init__(options, build_network)
        self.network = build_network()
        classes, filters = self.network.get_parameter("last.weight").shape[:2]
        self.foreground = range(1, classes)
        self.projection, self.prediction = two_layers(filters), two_layers(WIDTH)
        self.selectors = nn.ModuleList(selector() for _ in self.foreground)
        self.memory_selectors = nn.ModuleList(
            selector() for _ in self.foreground if options.memory_scores
        )
        self.memory = ClassMemory(classes, options.memory_size, WIDTH)
        self.divergence = {"pooled": pooled_dice_loss, "classwise": classwise_dice_loss}[
            options.dice
        ]

    def loss(self, batch: Batch, stage: Stage, step: int) -> Iterator[Terms]:
        x, u = both_images(batch)
        image = torch.cat([x, u])
        weight = self.options.weight(step)
        yield self.segmentation_terms(image, x, batch, weight)
        yield {"smoothness": weight * self.smoothness(image, batch)}

    def segmentation_terms(self, image: Tensor, x: Tensor, batch: Batch, weight: float) -> Terms:
        """Return L_s and w w_c (mean_c L_c(x) + mean_c L_c(u)) of the images x, u."""
        output = self.network(image)
        label = torch.cat([batch.label, output.logits.detach()[len(x) :].argmax(1)])
        contrast = self.separation(output, label, len(x), batch)
        labelled = known(output.logits[: len(x)], batch.label, batch.partial)
        supervised = self.supervised(*labelled)
        self.note(
            batch,
            lambda: {"unlabelled prediction": label[len(x) :]},
            lambda: {
                "labelled Dice": mean_dice(*labelled),
                "memory fill": self.memory.fill(),
                "unlabelled foreground share": foreground_share(label[len(x) :]),
            },
        )
        return {
            "labelled": supervised,
            "contrast": weight * self.options.contrast_weight * contrast,
        }

    def supervised(self, logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return L_s. The pooled Dice (LA) covers the foreground alone.

        weight: 1 for voxels that count, else 0, (B, *S); None: all count.
        """
        p = softmax(logits)
        truth = torch.stack([label == index for index in range(logits.shape[1])], 1).to(p.dtype)
        if weight is not None:
            p, truth = (each * weight.unsqueeze(1) for each in (p, truth))
        first = 1 if self.options.dice == "pooled" else 0
        dice = self.divergence(p[:, first:], truth[:, first:])
        return (
            (cross_entropy(logits, label, weight) + dice) / 2
            if self.options.cross_entropy
            else dice
        )

    def smoothness(self, image: Tensor, batch: Batch) -> Tensor:
        """Return L_v.

        All passes run in training mode, each with its own dropout. Only the clean pass updates the
        running statistics. All passes run under autocast: directions found in bf16 have a cosine of
        0.94 to 0.99 with those of float32 (measured while training on phantoms; at least 0.996 on
        LA), and reduce the agreement as much.
        """
        noise = uniform_noise(image, batch.rng.device("adversarial noise", image.device))
        with torch.no_grad():
            target = self.probabilities(image)
        with frozen_statistics(self.network):
            change = self.options.radius * adversarial_direction(
                self.probabilities, image, self.divergence, target, noise, self.options.probe
            )
            self.note(batch, lambda: {"adversarial change": change[len(batch.image) :]})
            return self.divergence(self.probabilities(image + change), target)

    def probabilities(self, image: Tensor) -> Tensor:
        return softmax(self.network(image).logits)

    def separation(self, output: Output, label: Tensor, labelled: int, batch: Batch) -> Tensor:
        """Update the memory and return mean_c L_c(x) + mean_c L_c(u).

        label: (B + B', *S), the true labels of the ``labelled`` images, then the predicted ones.
        """
        h = (output.decoder if output.dropped is None else output.dropped).movedim(1, -1)
        found = (output.logits[:labelled].detach().argmax(1) == label[:labelled]) & (
            label[:labelled] > 0
        )
        self.remember(h[:labelled][found], label[:labelled][found])
        losses = []
        for half, part in enumerate((slice(None, labelled), slice(labelled, None))):
            features, classes = h[part].flatten(0, -2), label[part].flatten()
            if 0 < self.options.contrast_positions < len(classes):
                generator = batch.rng.device("contrast positions", h.device, half)
                chosen = torch.randperm(len(classes), generator=generator, device=h.device)[
                    : self.options.contrast_positions
                ]
                features, classes = features[chosen], classes[chosen]
            losses.append(self.contrast(features, classes))
        return torch.stack(losses).sum()

    @torch.no_grad()
    def remember(self, h: Tensor, label: Tensor) -> None:
        """Update M_c of the classes in ``label`` (N,), from h (N, filters) of correct voxels."""
        size = self.options.memory_size
        self.projection.eval()
        features = self.projection(h)
        self.projection.train(self.training)
        for index in self.foreground:
            own = features[label == index]
            if len(own) > size:
                scores = self.selectors[index - 1](own).squeeze(1)
                own = own[scores.topk(size, largest=self.options.memory_keeps == "highest").indices]
            self.memory.store(index, own)

    def contrast(self, h: Tensor, label: Tensor) -> Tensor:
        """Return mean_c L_c of features h (N, filters) with classes (N,).

        Classes with fewer than two features or two stored features are skipped; 0 if all are.
        """
        features = self.prediction(self.projection(h))
        distances = [torch.zeros_like(self.memory.count[0])]
        for index in self.foreground:
            own, memory = features[label == index], self.memory.of(index)
            if len(own) > 1 and len(memory) > 1:
                scores = self.selectors[index - 1](own.detach()).sigmoid().squeeze(1)
                distances.append(
                    weighted_distance(own, memory, scores, self.scores_of_memory(index, memory))
                )
        all_classes = self.options.contrast_mean == "all"
        count = len(self.foreground) + 1 if all_classes else max(1, len(distances) - 1)
        return torch.stack(distances).sum() / count

    def scores_of_memory(self, index: int, memory: Tensor) -> Tensor:
        """Return sigmoid R_c of the memory (M, 32), or 1: (M,)."""
        if not self.memory_selectors:
            return memory.new_ones(len(memory))
        scores: Tensor = self.memory_selectors[index - 1](nn.functional.normalize(memory, dim=1))
        return scores.sigmoid().squeeze(1)

    def views(self, image: Tensor) -> Mapping[str, Tensor]:
        return {"network": self.network(image).logits}
