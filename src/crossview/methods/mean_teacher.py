"""Mean teacher (Tarvainen and Valpola, NeurIPS 2017, arXiv 1703.01780).

The student s learns to predict on an unlabelled image what t, the average of past students,
predicts on a noisy copy. With x labelled images, y labels, u unlabelled images, n clipped normal
noise, sg no gradient:

    L_s = (cross-entropy + batch Dice)(s(x), y) / 2
    L_c = mean over samples, classes, voxels of (softmax s(u) - sg softmax t(u + n))^2
    L   = L_s + w(step) L_c
    after each step: t <- a t + (1 - a) s,   a = min(1 - 1/(step + 1), ema_decay)

x and u pass through the student together. The teacher runs in training mode, as released. The
equations are those of the segmentation form in HiLab-git/SSL4MIS@06df604.
"""

from __future__ import annotations

import torch
from pydantic import Field

from crossview.core.tensors import Batch
from crossview.methods.bases import ConsistencyOptions, StudentTeacher, TeacherOptions, both_images
from crossview.methods.blocks.health import foreground_share
from crossview.methods.blocks.losses import cross_entropy_batch_dice, softmax
from crossview.methods.blocks.partial import known
from crossview.methods.blocks.teacher import noisy, warmed_up
from crossview.methods.method import Stage, Terms


class MeanTeacherOptions(ConsistencyOptions, TeacherOptions):
    """Keys of [method] for mean teacher."""

    noise: float = Field(
        0.1,
        ge=0,
        description="standard deviation of noise on the teacher's images; clipped at twice this",
    )
    consistency_after: int = Field(
        0,
        ge=0,
        description="first steps with w = 0; the ramp is not shifted; released for ACDC: 1000",
    )

    def weight(self, step: int) -> float:
        return super().weight(step) if step >= self.consistency_after else 0.0


class MeanTeacher(StudentTeacher):
    """Student and averaged teacher, one stage."""

    Options = MeanTeacherOptions
    options: MeanTeacherOptions

    def loss(self, batch: Batch, stage: Stage, step: int) -> Terms:
        x, u = both_images(batch)
        labelled, unlabelled = self.student(torch.cat([x, u])).logits.split([len(x), len(u)])
        image = noisy(u, self.options.noise, batch.rng.device("noise", u.device))
        with torch.no_grad():
            target = softmax(self.teacher(image).logits)
        self.note(
            batch,
            lambda: {"noisy unlabelled": image, "teacher pseudo-label": target.argmax(1)},
            lambda: {
                "teacher pseudo-label share": foreground_share(target.argmax(1)),
                **self.labelled_dice(batch, labelled),
            },
        )
        consistency = (softmax(unlabelled) - target).square().mean()
        return {
            "labelled": cross_entropy_batch_dice(*known(labelled, batch.label, batch.partial)),
            "consistency": self.options.weight(step) * consistency,
        }

    def after_step(self, stage: Stage, step: int) -> None:
        self.update_teacher(warmed_up(step, self.options.ema_decay))
