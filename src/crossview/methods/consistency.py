"""Base of the options of methods with a consistency term: one stage, a weight that ramps up."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from crossview.batch import Batch
from crossview.methods.method import MethodOptions, Stage
from crossview.objectives.ramps import sigmoid_ramp


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


def both_images(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the labelled and the unlabelled images of a batch.

    Raises:
        ValueError: If the batch has no unlabelled images.
    """
    if batch.unlabelled is None:
        raise ValueError("this stage trains on unlabelled images, but the batch has none")
    return batch.image, batch.unlabelled
