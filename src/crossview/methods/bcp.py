"""BCP: bidirectional copy-paste (Bai et al., CVPR 2023, arXiv 2305.00673).

A box of a labelled image is pasted into an unlabelled one, and the reverse. A teacher, the average
of past students, labels the unlabelled part. With x_a, x_b, y_a, y_b, u_a, u_b the halves of the
labelled and unlabelled batch, M one random box per batch (0 inside, 1 outside), s student,
t teacher:

    P      = clean(decide(t(u))), no gradient, u_a and u_b in separate passes
    mix a:   X = x_a M + u_a (1 - M)     labelled image outside the box, unlabelled image inside
    mix b:   X = u_b M + x_b (1 - M)     the reverse; terms are named by where the labels are
    l(X)   = L_sup(s(X), y; R) + a L_sup(s(X), P; 1 - R),  R the voxels of X from the labelled image
    L      = l(mix a) + l(mix b)
    after each step: t <- 0.99 t + 0.01 s

L_sup(z, y; R) = (cross-entropy + Dice) / 2 over the voxels of R alone. Its Dice is CML's in the
code for LA, and the one over the whole batch with squares in the code for ACDC (``dice``). The code
for ACDC has u_a M + x_a (1 - M) and x_b M + u_b (1 - M) (``first_outside``). Stage 1 pastes
labelled images into each other: X = x_a M + x_b (1 - M). Stage 2 starts with a copy of the student
as teacher. The equations are those of the code (DeepMed-Lab-ECNU/BCP@7879f98).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from crossview.core.tensors import Batch
from crossview.methods.bases import StudentTeacher, TeacherOptions, TwoStageOptions
from crossview.methods.blocks.health import foreground_share, mean_dice
from crossview.methods.blocks.losses import cross_entropy_batch_dice, cross_entropy_dice
from crossview.methods.blocks.mixing import halves, mix, random_box
from crossview.methods.blocks.partial import known
from crossview.methods.blocks.pseudo_labels import clean_async, decide
from crossview.methods.method import Stage, Terms

BATCH_DICE_SMOOTH = 1e-10
"""e in the Dice of the code for ACDC."""


class BCPOptions(TwoStageOptions, TeacherOptions):
    """Keys of [method] for BCP."""

    keep_optimiser: bool = Field(
        False, description="keep stage 1's momentum in stage 2; released for ACDC: true"
    )
    box: float = Field(
        2 / 3, gt=0, lt=1, description="side of the pasted box as a share of the patch"
    )
    unlabelled_weight: float = Field(
        0.5, ge=0, description="a: weight of the voxels with pseudo-labels"
    )
    first_outside: Literal["labelled", "unlabelled"] = Field(
        "labelled",
        description="image outside the box in mix a, the other one in mix b; "
        "released for ACDC: unlabelled",
    )
    dice: Literal["sample", "batch"] = Field(
        "sample",
        description="sample: Dice per sample and class, as released for LA; "
        "batch: per class over the batch, with squares, as released for ACDC",
    )
    pretrain_regions: bool = Field(
        False,
        description="weigh the inside and outside of the box equally in stage 1, as in stage 2; "
        "released for ACDC: true",
    )
    average_buffers: bool = Field(
        True, description="average batch norm's running statistics too; released for LA: false"
    )
    largest_component: bool = Field(
        True, description="keep the largest component of each class of a pseudo-label"
    )


class BCP(StudentTeacher):
    """Student and averaged teacher, two stages."""

    Options = BCPOptions
    options: BCPOptions

    @classmethod
    def halved(cls, options: BCPOptions) -> tuple[str, ...]:
        return "labelled_batch", "unlabelled_batch"

    @classmethod
    def separable(cls, options: BCPOptions) -> bool:
        return options.dice == "sample"

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.options.two_stages(self.options.keep_optimiser)

    def begin(self, stage: Stage) -> None:
        if stage.unlabelled:
            self.teacher.load_state_dict(self.student.state_dict())

    def after_step(self, stage: Stage, step: int) -> None:
        if stage.unlabelled:
            self.update_teacher(self.options.ema_decay)

    def loss(self, batch: Batch, stage: Stage, step: int) -> Iterator[Terms]:
        x, y = halves(batch.image), halves(batch.label)
        box = random_box(tuple(batch.image.shape[2:]), self.options.box, batch.rng.host("box"))
        outside = mix(torch.ones_like(y[0]), torch.zeros_like(y[0]), box)
        if batch.unlabelled is None:
            yield {"labelled": self.pretrain_loss(batch, mix(*x, box), mix(*y, box), outside)}
            return
        u = halves(batch.unlabelled)
        pseudo_labels = [self.pseudo_label(half) for half in u]
        first = self.options.first_outside == "labelled"
        for half, labelled_outside in enumerate((first, not first)):
            pasted = mix(x[half], u[half], box) if labelled_outside else mix(u[half], x[half], box)
            region = outside if labelled_outside else 1 - outside
            where = "labels outside" if labelled_outside else "labels inside"
            yield {
                where: self.pasted_loss(batch, where, pasted, y[half], region, pseudo_labels[half])
            }

    def pasted_loss(
        self,
        batch: Batch,
        where: str,
        image: Tensor,
        label: Tensor,
        region: Tensor,
        pseudo_label: Callable[[], Tensor],
    ) -> Tensor:
        """Return l(X) of a mix whose labelled voxels are ``region``; P is waited for after s(X)."""
        logits = self.student(image).logits
        p = pseudo_label()
        self.note(
            batch,
            lambda: {
                f"{where} mix": image,
                f"{where} mix label": torch.where(region > 0, label, p),
            },
            lambda: {
                f"student Dice, {where}": mean_dice(*known(logits, label, batch.partial, region)),
                f"teacher pseudo-label share, {where}": foreground_share(p),
            },
        )
        taught = self.supervised(logits, p, 1 - region)
        labelled = self.supervised(*known(logits, label, batch.partial, region))
        return labelled + self.options.unlabelled_weight * taught

    def pretrain_loss(self, batch: Batch, mixed: Tensor, label: Tensor, outside: Tensor) -> Tensor:
        """Return L_sup of mixed labelled images, over the whole mix or summed over both regions."""
        logits = self.student(mixed).logits
        self.note(
            batch,
            lambda: {"labelled mix": mixed, "labelled mix label": label},
            lambda: {"student labelled Dice": mean_dice(*known(logits, label, batch.partial))},
        )
        if self.options.pretrain_regions:
            outer, inner = (
                self.supervised(*known(logits, label, batch.partial, region))
                for region in (outside, 1 - outside)
            )
            return outer + inner
        return self.supervised(*known(logits, label, batch.partial))

    def supervised(self, logits: Tensor, label: Tensor, region: Tensor | None = None) -> Tensor:
        """Return L_sup(z, y; R) with the recipe's form of Dice."""
        if self.options.dice == "sample":
            return cross_entropy_dice(logits, label, region)
        return cross_entropy_batch_dice(logits, label, region, smooth=BATCH_DICE_SMOOTH)

    def pseudo_label(self, image: Tensor) -> Callable[[], Tensor]:
        """Start cleaning P of unmixed images in a thread; return what waits for it. No gradient."""
        with torch.no_grad():
            logits = self.teacher(image).logits
        label = decide(logits)
        return (
            clean_async(label, logits.shape[1]).result
            if self.options.largest_component
            else label.detach
        )
