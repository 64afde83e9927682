"""Parts that methods share: stages, a consistency weight that ramps up, an averaged teacher."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from crossview.core.tensors import Batch
from crossview.methods.blocks.health import mean_dice
from crossview.methods.blocks.losses import softmax
from crossview.methods.blocks.partial import known
from crossview.methods.blocks.teacher import average, sigmoid_ramp, teacher_of
from crossview.methods.method import BuildNetwork, Method, MethodOptions, Stage


class ConsistencyOptions(MethodOptions):
    """Keys of [method] for methods of one stage with a weight w(step) on the unsupervised terms."""

    steps: int = Field(15000, ge=1, description="steps of the only stage")
    consistency_weight: float = Field(
        0.1, ge=0, description="final value of w, the weight of the unsupervised terms"
    )
    ramp_share: float = Field(
        0.4,
        ge=0,
        description="share of the steps after which w has its final value; 0: from the start",
    )
    ramp_every: int = Field(1, ge=1, description="steps between updates of w; released: 150")

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (Stage("train", self.steps, unlabelled=True),)

    def weight(self, step: int) -> float:
        """Return w(step) = consistency_weight exp(-5 (1 - min(t / T, 1))^2).

        T = ramp_share x steps, t = the step of the last update of w.
        """
        return self.consistency_weight * sigmoid_ramp(
            step // self.ramp_every * self.ramp_every, self.ramp_share * self.steps
        )


class TwoStageOptions(MethodOptions):
    """Keys of [method] for methods of two stages, the first on labelled images only."""

    pretrain_steps: int = Field(2000, ge=0, description="steps of stage 1, on labelled images only")
    train_steps: int = Field(
        15000, ge=0, description="steps of stage 2, on all images; 0: stage 1 alone, a baseline"
    )
    ready_dice: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Dice per class that each network must reach on labelled crops before stage 2 "
        "begins; extra steps shorten stage 2; 0: no waiting",
    )

    def two_stages(self, keep_optimiser: bool) -> tuple[Stage, ...]:
        """Return the stages that have steps. keep_optimiser: of stage 2."""
        pretrain = Stage(
            "pretrain", self.pretrain_steps, unlabelled=False, ready_dice=self.ready_dice
        )
        train = Stage(
            "train",
            self.train_steps,
            unlabelled=True,
            from_selected=pretrain.steps > 0,
            keep_optimiser=keep_optimiser,
        )
        return tuple(stage for stage in (pretrain, train) if stage.steps)


def both_images(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the labelled and the unlabelled images of a batch.

    Raises:
        ValueError: If the batch has no unlabelled images.
    """
    if batch.unlabelled is None:
        raise ValueError("this stage trains on unlabelled images, but the batch has none")
    return batch.image, batch.unlabelled


class TeacherOptions(MethodOptions):
    """Keys of [method] for methods with an averaged teacher."""

    ema_decay: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="a in the teacher's update t <- a t + (1 - a) s after each step",
    )
    average_buffers: bool = Field(
        False,
        description="average batch norm's running statistics too; "
        "false: the teacher collects its own in training mode",
    )


class StudentTeacher(Method):
    """Student, and teacher that starts as its copy. The student predicts, as in the releases."""

    peers = False
    recordable = True
    partial_labels = True
    options: TeacherOptions

    def __init__(self, options: TeacherOptions, build_network: BuildNetwork) -> None:
        super().__init__(options, build_network)
        self.student = build_network()
        self.teacher = teacher_of(self.student)

    def update_teacher(self, decay: float) -> None:
        average(self.teacher, self.student, decay, buffers=self.options.average_buffers)

    def labelled_dice(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Return both networks' Dice on the labelled images, the student's from its logits.

        The teacher runs in evaluation mode: it draws nothing and keeps its running statistics.
        """
        self.teacher.eval()
        with torch.no_grad():
            taught = self.teacher(batch.image).logits
        self.teacher.train(self.training)
        return {
            f"{name} labelled Dice": mean_dice(*known(each, batch.label, batch.partial))
            for name, each in (("student", logits), ("teacher", taught))
        }

    def views(self, image: Tensor) -> Mapping[str, Tensor]:
        return {"student": self.student(image).logits, "teacher": self.teacher(image).logits}

    def combine(self, views: Mapping[str, Tensor]) -> Tensor:
        return softmax(views["student"])
