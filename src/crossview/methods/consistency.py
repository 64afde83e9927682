"""What the methods with a consistency term have in common: one stage, and a weight that ramps up."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from crossview.batch import Batch
from crossview.methods.method import MethodOptions, Stage
from crossview.objectives.ramps import sigmoid_ramp


class ConsistencyOptions(MethodOptions):
    """Keys of [method] for methods of one stage whose unsupervised terms are multiplied by w(step)."""

    steps: int = Field(15000, ge=1, description="steps of the only stage")
    consistency_weight: float = Field(
        0.1, ge=0, description="the value that the weight w of the unsupervised terms rises to"
    )
    ramp_share: float = Field(
        0.4,
        ge=0,
        description="share of the steps after which w is at its full value; 0: from the start",
    )
    ramp_every: int = Field(1, ge=1, description="steps for which w is held; released: 150")

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (Stage("train", self.steps, unlabelled=True),)

    def weight(self, step: int) -> float:
        """w(step) = consistency_weight exp(-5 (1 - min(t / T, 1))^2), T = ramp_share x steps, t = the step at which w was last changed."""
        return self.consistency_weight * sigmoid_ramp(
            step // self.ramp_every * self.ramp_every, self.ramp_share * self.steps
        )


def both_images(batch: Batch) -> tuple[Tensor, Tensor]:
    """A batch's labelled and unlabelled images, for a stage whose batches have both."""
    if batch.unlabelled is None:
        raise ValueError("this stage trains on unlabelled images, and the batch has none")
    return batch.image, batch.unlabelled
