"""Labelled-only training of one network, the baseline that every other method must beat.

L = (cross-entropy + Dice) / 2
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from crossview.core.tensors import Batch
from crossview.methods.method import BuildNetwork, Method, MethodOptions, Stage, Terms


class SupervisedOptions(MethodOptions):
    """Keys of [method] for labelled-only training."""

    steps: int = Field(17000, ge=1, description="steps of the only stage")


class Supervised(Method):
    """One network, one stage, no unlabelled images."""

    Options = SupervisedOptions
    recordable = True
    partial_labels = True
    overlapping = True
    options: SupervisedOptions

    @classmethod
    def separable(cls, options: SupervisedOptions) -> bool:
        return True

    def __init__(self, options: SupervisedOptions, build_network: BuildNetwork) -> None:
        super().__init__(options, build_network)
        self.network = build_network()

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (Stage("train", self.options.steps, unlabelled=False),)

    def loss(self, batch: Batch, stage: Stage, step: int) -> Terms:
        logits = self.network(batch.image).logits
        self.note(batch, lambda: {"prediction": self.head.predicted(logits)})
        return {"labelled": self.head.loss(logits, batch.label, batch.partial)}

    def views(self, image: Tensor) -> Mapping[str, Tensor]:
        return {"network": self.network(image).logits}
