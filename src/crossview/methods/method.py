"""The contract of a method: a loss for one batch and a prediction, nothing else.

A method knows nothing of files, devices, precision or loops. It owns its networks, says which stages it trains in,
and turns a batch into named, weighted loss terms. The training loop does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from crossview.batch import Batch

Terms = dict[str, Tensor]
BuildNetwork = Callable[..., nn.Module]
"""Builds one network of the recipe; keyword arguments replace keys of [network] for this one: build(upsample="linear")."""


@dataclass(frozen=True)
class Stage:
    """A stretch of training.

    unlabelled: whether batches carry unlabelled images. from_selected: whether the stage starts from the previous
    stage's selected checkpoint (its last weights under selection "last") or just goes on.
    keep_optimiser: whether the optimiser's momentum comes along from where the weights come from.
    ready_dice: the stage goes on beyond its steps, at the cost of the next one's, until every network in training has this Dice of every
    class on labelled crops (:mod:`crossview.training.readiness`); 0: it ends with its steps.
    """

    name: str
    steps: int
    unlabelled: bool
    from_selected: bool = False
    keep_optimiser: bool = False
    ready_dice: float = 0.0


READY_DICE = "Dice of each class that each network must have on labelled crops before stage 2 begins, which is cut by what that takes; 0: none"


class MethodOptions(BaseModel):
    """Keys of [method] that every method has; a method's Options adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="a name of `crossview list methods`")
    variant: Literal["corrected", "released"] = Field(
        "corrected",
        description="a preset, expanded into plain keys: the release with its defects mended, or the release as it is",
    )


class Method(nn.Module):
    """Base of all methods. Subclasses set ``Options`` and write ``stages`` and ``loss``; the rest has defaults."""

    Options: ClassVar[type[MethodOptions]] = MethodOptions
    peers: ClassVar[bool] = True
    """Whether several views are networks trained beside each other, whose disagreement is doubt. Not where one averages another."""

    recordable: ClassVar[bool] = False
    """Whether passes may be replayed from a recording (:mod:`crossview.training.recording`): what a network returns is not read any more
    after its next pass of the same kind, gradients are first derivatives by weights alone, and every step of a stage gives them to the
    same outputs."""

    @classmethod
    def separable(cls, options: Any) -> bool:
        """Whether several processes can share a batch: its loss is the mean of those of its pairs (i, i + n/2), batch norm aside.

        Not so, say, with a Dice over the whole batch, or with device noise that is not drawn sample by sample.
        """
        return False

    def __init__(self, options: Any, build_network: BuildNetwork) -> None:
        super().__init__()
        self.options = options
        self.show: dict[str, Tensor] = {}
        self.health: dict[str, Tensor] = {}

    @classmethod
    def halved(cls, options: Any) -> tuple[str, ...]:
        """The keys of [training] of the batches whose first half is mixed with the second, and which must be even."""
        return ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        raise NotImplementedError

    def loss(self, batch: Batch, stage: Stage, step: int) -> Terms | Iterator[Terms]:
        """Weighted loss terms by name, or a generator of such dicts; each dict is back-propagated as it comes."""
        raise NotImplementedError

    def begin(self, stage: Stage) -> None:
        """Called once when a stage starts, after its weights are in place; never on resume."""

    def after_step(self, stage: Stage, step: int) -> None:
        """Called after each optimiser step; ``step`` counts within the stage."""

    def views(self, image: Tensor) -> Mapping[str, Tensor]:
        """Each network's own logits (B, K, *S) by its name: "view1", "view2"; "student", "teacher"."""
        raise NotImplementedError

    def learners(self, image: Tensor) -> Mapping[str, Tensor]:
        """The logits, as of :meth:`views`, of those networks that the optimiser trains."""
        return self.views(image)

    def combine(self, views: Mapping[str, Tensor]) -> Tensor:
        """The method's class probabilities (B, K, *S) from its views' logits: the softmax of their mean."""
        return torch.stack(list(views.values())).mean(0).float().softmax(1)

    def predict(self, image: Tensor) -> Tensor:
        """Class probabilities (B, K, *S)."""
        return self.combine(self.views(image))
