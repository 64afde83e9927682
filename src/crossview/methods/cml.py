"""CML: cross-view mutual learning (Wu et al., ACM Multimedia 2024, doi 10.1145/3664647.3680699).

Two networks ("views") segment the same CutMix image. A discrepancy loss drives their bottleneck
features apart while each is taught by a patchwork of both views' pseudo-labels. With x labelled
images, y labels, u unlabelled images, M one random box per batch, z_i the logits and f_i the
bottleneck features of view i, P_i the cleaned pseudo-labels of view i:

    mix(a, b; M) = a outside the box, b inside it
    L_sup(z, y)  = (cross-entropy + Dice) / 2
    L_dis(f, g)  = 1 + mean cos(f, stopgrad(g)),   D = L_dis(f_1, f_2) + L_dis(f_2, f_1)
    labelled:      X = mix(x_a, x_b; M), Y = mix(y_a, y_b; M),
                   L_l = L_sup(z_1(X), Y) + L_sup(z_2(X), Y)
    unlabelled:    X = mix(u_a, u_b; M'),
                   T_1 = mix(P_2(u_a), P_1(u_b); M'), T_2 = mix(P_1(u_a), P_2(u_b); M'),
                   L_u = L_sup(z_1(X), T_1) + L_sup(z_2(X), T_2)
    stage 1:       L = w_l L_l + w_d D_l
    stage 2:       L = w_l L_l + w_u L_u + w_d (D_l + D_u)

The equations are those of the release (SongwuJob/CML@1229a71); docs/explanation/cml.md lists every
departure from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from crossview.core.partial import PartialLabels
from crossview.core.tensors import Batch, Output
from crossview.methods.bases import TwoStageOptions
from crossview.methods.blocks.health import foreground_share, mean_dice_of
from crossview.methods.blocks.losses import feature_discrepancy
from crossview.methods.blocks.mixing import halves, mix, random_box
from crossview.methods.method import BuildNetwork, Method, Stage, Terms


class CMLOptions(TwoStageOptions):
    """Keys of [method] for CML."""

    upsample: tuple[str, str] = Field(
        ("transposed", "linear"),
        description="upsampling in each view's decoder; this makes the views differ",
    )
    shared_views: bool = Field(
        False, description="one network for both views, as in the ACDC release by mistake"
    )
    box: float = Field(
        2 / 3, gt=0, lt=1, description="r: side of the CutMix box as a share of the patch"
    )
    labelled_weight: float = Field(1.0, ge=0, description="w_l")
    unlabelled_weight: float = Field(1.0, ge=0, description="w_u")
    discrepancy_weight: float = Field(0.2, ge=0, description="w_d")
    pseudo_labels: Literal["train", "eval"] = Field(
        "train", description="mode of the networks that make pseudo-labels; released: train"
    )
    largest_component: bool = Field(
        True, description="keep the largest component of each class of a pseudo-label"
    )


class CML(Method):
    """Two views, two stages."""

    Options = CMLOptions
    recordable = True
    partial_labels = True
    overlapping = True
    options: CMLOptions

    @classmethod
    def separable(cls, options: CMLOptions) -> bool:
        return True

    def __init__(self, options: CMLOptions, build_network: BuildNetwork) -> None:
        super().__init__(options, build_network)
        first, second = options.upsample
        self.view1 = build_network(upsample=first)
        self.view2: nn.Module | None = (
            None if options.shared_views else build_network(upsample=second)
        )

    @classmethod
    def halved(cls, options: CMLOptions) -> tuple[str, ...]:
        return "labelled_batch", "unlabelled_batch"

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.options.two_stages(keep_optimiser=True)

    @property
    def passes_at_once(self) -> int:
        return 1 if self.view2 is None else 2

    def both(self, image: Tensor) -> tuple[Output, Output]:
        """Return the outputs of both views. Shared views run twice: their dropout masks differ."""
        if self.view2 is None:
            return self.view1(image), self.view1(image)
        first, second = self.together(partial(self.view1, image), partial(self.view2, image))
        return first, second

    def loss(self, batch: Batch, stage: Stage, step: int) -> Iterator[Terms]:
        labelled = self.labelled_terms(batch)
        if batch.unlabelled is None:
            yield labelled
            return
        # The pseudo-labels' forward pass comes before this backward pass,
        # so that their clean-up on the CPU overlaps with it.
        pseudo_labels = self.pseudo_labels(batch.unlabelled)
        yield labelled
        del labelled
        yield self.unlabelled_terms(batch, batch.unlabelled, [labels() for labels in pseudo_labels])

    def labelled_terms(self, batch: Batch) -> Terms:
        """Return w_l L_l and w_d D_l. Both views see the same label."""
        mixed, label = self.mixed_halves(batch, "labelled", batch.image, batch.label)
        outputs = self.both(mixed)
        self.note(
            batch,
            lambda: {"labelled mix": mixed, "labelled mix label": label},
            lambda: {
                f"view{i} labelled Dice": mean_dice_of(
                    self.head.pairs(output.logits, label, batch.partial)
                )
                for i, output in enumerate(outputs, 1)
            },
        )
        weight = self.options.labelled_weight
        return self.terms(outputs, (label, label), weight, "labelled", batch.partial)

    def unlabelled_terms(self, batch: Batch, image: Tensor, pseudo_labels: list[Tensor]) -> Terms:
        """Return w_u L_u and w_d D_u of the unmixed unlabelled images.

        Each view is taught by the other one outside the box and by itself inside.
        """
        (p1_a, p1_b), (p2_a, p2_b) = (halves(labels) for labels in pseudo_labels)
        mixed, target1, target2 = self.mixed_halves(
            batch, "unlabelled", image, torch.cat([p2_a, p1_b]), torch.cat([p1_a, p2_b])
        )
        self.note(
            batch,
            lambda: {
                "unlabelled mix": mixed,
                "target view1": self.head.shown(target1),
                "target view2": self.head.shown(target2),
            },
            lambda: {
                f"view{i} pseudo-label share": foreground_share(self.head.shown(p))
                for i, p in enumerate(pseudo_labels, 1)
            },
        )
        return self.terms(
            self.both(mixed), (target1, target2), self.options.unlabelled_weight, "unlabelled"
        )

    def mixed_halves(self, batch: Batch, name: str, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return mix(a, b; M) of each tensor's two halves, all with one random box."""
        box = random_box(
            tuple(tensors[0].shape[2:]), self.options.box, batch.rng.host(f"{name} box")
        )
        return tuple(mix(*halves(tensor), box) for tensor in tensors)

    def terms(
        self,
        outputs: tuple[Output, Output],
        targets: tuple[Tensor, Tensor],
        weight: float,
        name: str,
        partial: PartialLabels | None = None,
    ) -> Terms:
        """Return w (L_sup(z_1, T_1) + L_sup(z_2, T_2)) and w_d D."""
        first, second = outputs
        supervised = self.head.loss(first.logits, targets[0], partial) + self.head.loss(
            second.logits, targets[1], partial
        )
        f, g = first.bottleneck, second.bottleneck
        discrepancy = feature_discrepancy(f, g) + feature_discrepancy(g, f)
        return {
            name: weight * supervised,
            f"{name} discrepancy": self.options.discrepancy_weight * discrepancy,
        }

    def pseudo_labels(self, image: Tensor) -> list[Callable[[], Tensor]]:
        """Start cleaning P_1 and P_2 of the unmixed images in a thread. No gradient.

        Returns:
            Two functions that wait for P_1 and P_2; call them when the labels are needed.
        """
        training = self.training
        self.train(training and self.options.pseudo_labels == "train")
        with torch.no_grad():
            outputs = self.both(image)
        self.train(training)
        labels = [(self.head.decided(output.logits), output.logits.shape[1]) for output in outputs]
        if self.options.largest_component:
            return [self.head.clean_async(label, classes) for label, classes in labels]
        return [label.detach for label, _ in labels]

    def views(self, image: Tensor) -> Mapping[str, Tensor]:
        if self.view2 is None:
            return {"view1": self.view1(image).logits}
        first, second = self.both(image)
        return {"view1": first.logits, "view2": second.logits}
