"""UA-MT: uncertainty-aware mean teacher (Yu et al., MICCAI 2019, arXiv 1907.07034).

Mean teacher whose consistency counts only where the teacher is certain. With x labelled images,
y labels, u unlabelled images, s student, t teacher, n clipped normal noise drawn anew for each
pass, K classes:

    L_s = (cross-entropy + batch Dice)(s(x), y) / 2
    p_s = softmax s(u),   p_t = softmax t(u + n), no gradient
    P   = mean of T Monte-Carlo predictions softmax t(u + n), with dropout
    U   = -sum_c P log(P + 1e-6)
    B   = [U < H(step)],  H(step) = (0.75 + 0.25 exp(-5 (1 - step/steps)^2)) ln K
    L_c = sum B (p_s - p_t)^2 / (K sum B)
    L   = L_s + w(step) L_c
    after each step: t <- a t + (1 - a) s,   a = min(1 - 1/(step + 1), ema_decay)

The equations are those of the code (yulequan/UA-MT@88ed29a), which has 2 and ln 2 for K even with
four classes (``binary_uncertainty``).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from crossview.core.tensors import Batch
from crossview.methods.bases import ConsistencyOptions, StudentTeacher, TeacherOptions, both_images
from crossview.methods.blocks.health import foreground_share
from crossview.methods.blocks.losses import cross_entropy_batch_dice, softmax
from crossview.methods.blocks.mixing import halves
from crossview.methods.blocks.partial import known
from crossview.methods.blocks.teacher import entropy, noisy, sigmoid_ramp, warmed_up
from crossview.methods.method import Stage, Terms


class UAMTOptions(ConsistencyOptions, TeacherOptions):
    """Keys of [method] for UA-MT."""

    noise: float = Field(
        0.1,
        ge=0,
        description="standard deviation of noise on the teacher's images; clipped at twice this",
    )
    passes: int = Field(
        8, ge=2, le=1024, multiple_of=2, description="T: Monte-Carlo predictions of the teacher"
    )
    binary_uncertainty: bool = Field(
        False, description="use 2 as the number of classes in H and L_c, as released"
    )
    dice_of_background: bool = Field(
        True, description="include the background's Dice in L_s; released for LA: false"
    )
    consistency_on: Literal["unlabelled", "all"] = Field(
        "unlabelled", description="images on which L_c is computed"
    )


class UAMT(StudentTeacher):
    """Student, averaged teacher, and a mask of the teacher's certain voxels; one stage."""

    Options = UAMTOptions
    options: UAMTOptions

    def loss(self, batch: Batch, stage: Stage, step: int) -> Terms:
        x, u = both_images(batch)
        images = torch.cat([x, u])
        logits = self.student(images).logits
        supervised = cross_entropy_batch_dice(
            *known(logits[: len(x)], batch.label, batch.partial),
            background=self.options.dice_of_background,
        )
        compared = images if self.options.consistency_on == "all" else u
        target, uncertainty = self.teach(compared, batch)
        classes = 2 if self.options.binary_uncertainty else logits.shape[1]
        certain = (uncertainty < self.threshold(step, classes)).to(target.dtype)
        difference = (softmax(logits[-len(compared) :]) - target).square().sum(1)
        consistency = (certain * difference).sum() / (classes * certain.sum() + 1e-16)
        self.note(
            batch,
            lambda: {
                "teacher pseudo-label": target.argmax(1)[-len(u) :],
                "uncertainty": uncertainty[-len(u) :],
                "certain": certain[-len(u) :],
            },
            lambda: {
                **self.labelled_dice(batch, logits[: len(x)]),
                "teacher pseudo-label share": foreground_share(target.argmax(1)),
                "certain voxels": certain.mean(),
            },
        )
        return {"labelled": supervised, "consistency": self.options.weight(step) * consistency}

    def teach(self, image: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return p_t (B, K, *S) and U (B, *S), no gradient.

        Each Monte-Carlo pass holds every image twice, as released.
        """
        generator = batch.rng.device("noise", image.device)

        def answer(images: Tensor) -> Tensor:
            return softmax(self.teacher(noisy(images, self.options.noise, generator)).logits)

        with torch.no_grad():
            target = answer(image)
            pairs = torch.cat([image, image])
            mean = torch.zeros_like(target)
            for _ in range(self.options.passes // 2):
                first, second = halves(answer(pairs))
                mean += (first + second) / self.options.passes
        return target, entropy(mean)

    def threshold(self, step: int, classes: int) -> float:
        """Return H(step): a share of the largest possible entropy that rises from 0.752 to 1."""
        return (0.75 + 0.25 * sigmoid_ramp(step, self.options.steps)) * math.log(classes)

    def after_step(self, stage: Stage, step: int) -> None:
        self.update_teacher(warmed_up(step, self.options.ema_decay))
