"""Base of methods with an averaged teacher: a trained student, and a teacher that follows it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from crossview.batch import Batch
from crossview.methods.method import BuildNetwork, Method, MethodOptions
from crossview.objectives.health import mean_dice
from crossview.objectives.losses import softmax
from crossview.objectives.teacher import average, teacher_of


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
    options: TeacherOptions

    def __init__(self, options: TeacherOptions, build_network: BuildNetwork) -> None:
        super().__init__(options, build_network)
        self.student = build_network()
        self.teacher = teacher_of(self.student)

    def update_teacher(self, decay: float) -> None:
        average(self.teacher, self.student, decay, buffers=self.options.average_buffers)

    def watch_labelled(self, batch: Batch, logits: Tensor) -> None:
        """Record both networks' Dice on the labelled images.

        The teacher runs in evaluation mode: it draws nothing and keeps its running statistics.
        """
        self.teacher.eval()
        with torch.no_grad():
            taught = self.teacher(batch.image).logits
        self.teacher.train(self.training)
        self.health["student labelled Dice"] = mean_dice(logits, batch.label)
        self.health["teacher labelled Dice"] = mean_dice(taught, batch.label)

    def views(self, image: Tensor) -> Mapping[str, Tensor]:
        return {"student": self.student(image).logits, "teacher": self.teacher(image).logits}

    def combine(self, views: Mapping[str, Tensor]) -> Tensor:
        return softmax(views["student"])

    def learners(self, image: Tensor) -> Mapping[str, Tensor]:
        return {"student": self.student(image).logits}
