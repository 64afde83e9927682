"""CML with what its published form leaves out, to measure whether it helps on few scans: a plugin, and benchmarks/choices.toml its suite.

``crossview bench benchmarks/choices.toml --plugin benchmarks.choices:Choices --data data/hippocampus --out DIR``. What came of it stands
in docs/explanation/cml.md; chosen by the validation cases, not by the test ones.

    ramp           w_u rises over so many steps of stage 2 (exp(-5 (1 - t)^2))
    confidence     voxels whose pseudo-label is less probable than this teach nothing
    average        pseudo-labels are made by averages of both views, a <- average a + (1 - average) view after each step
    mirror         each image of a step is mirrored left to right with a probability of one half
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from crossview.batch import Batch
from crossview.errors import Problem, UserError
from crossview.methods import Stage, Terms
from crossview.methods.cml import CML, CMLOptions
from crossview.methods.method import BuildNetwork
from crossview.networks.network import Output
from crossview.objectives.losses import cross_entropy_dice
from crossview.objectives.mixing import halves
from crossview.objectives.pseudo_labels import clean_async, decide
from crossview.objectives.ramps import sigmoid_ramp
from crossview.objectives.teacher import average, teacher_of


class ChoicesOptions(CMLOptions):
    """CML's keys, and those above."""

    ramp: int = Field(0, ge=0)
    confidence: float = Field(0.0, ge=0, lt=1)
    average: float = Field(0.0, ge=0, lt=1)
    mirror: bool = False


class Choices(CML):
    """CML where all is 0 or false."""

    Options = ChoicesOptions
    options: ChoicesOptions
    recordable = False

    def __init__(self, options: ChoicesOptions, build_network: BuildNetwork) -> None:
        super().__init__(options, build_network)
        if options.average and options.shared_views:
            raise UserError(
                Problem(
                    "averages are of two views",
                    "[method] average",
                    "shared_views = true",
                    "shared_views = false",
                )
            )
        averaged = [teacher_of(view) for view in self.children()] if options.average else []
        self.averaged = torch.nn.ModuleList(averaged)
        self.step, self.certain = 0, list[Tensor]()

    def pairs(self) -> list[tuple[torch.nn.Module, Any]]:
        """Each average with its view; none where nothing is averaged."""
        return (
            list(zip(self.averaged, (self.view1, self.view2), strict=True)) if self.averaged else []
        )

    def loss(self, batch: Batch, stage: Stage, step: int) -> Iterator[Terms]:
        self.step = step
        return super().loss(self.mirrored(batch) if self.options.mirror else batch, stage, step)

    def mirrored(self, batch: Batch) -> Batch:
        """The batch with each of its images, and its label, reversed along the first axis (left to right) or not, by chance."""
        draws = batch.rng.host("mirror")

        def some(images: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
            chosen = torch.from_numpy(draws.random(len(images)) < 0.5).to(images.device)
            axes = -(images.ndim - 2)
            of = (images, *others)
            return tuple(
                torch.where(chosen.view(-1, *[1] * (each.ndim - 1)), each.flip(axes), each)
                for each in of
            )

        image, label = some(batch.image, batch.label)
        return replace(
            batch,
            image=image,
            label=label,
            unlabelled=None if batch.unlabelled is None else some(batch.unlabelled)[0],
        )

    def pseudo_labels(self, image: Tensor) -> list[Callable[[], Tensor]]:
        with torch.no_grad():
            outputs = [view(image) for view in self.averaged] or list(self.both(image))
            self.certain = [
                output.logits.float().softmax(1).amax(1) >= self.options.confidence
                for output in outputs
            ]
        return [
            clean_async(decide(output.logits), output.logits.shape[1]).result for output in outputs
        ]

    def unlabelled_terms(self, batch: Batch, image: Tensor, pseudo_labels: list[Tensor]) -> Terms:
        (p1_a, p1_b), (p2_a, p2_b) = (halves(labels) for labels in pseudo_labels)
        (c1_a, c1_b), (c2_a, c2_b) = (halves(certain.to(torch.float32)) for certain in self.certain)
        targets = torch.cat([p2_a, p1_b]), torch.cat([p1_a, p2_b])
        certain = torch.cat([c2_a, c1_b]), torch.cat([c1_a, c2_b])
        mixed, target1, target2, weight1, weight2 = self.mixed_halves(
            batch, "unlabelled", image, *targets, *certain
        )
        first, second = self.both(mixed)
        terms = self.terms((first, second), (target1, target2), 0.0, "unlabelled")
        taught = self.taught(first, target1, weight1) + self.taught(second, target2, weight2)
        if batch.watch:
            self.health["certain voxels"] = torch.stack([weight1.mean(), weight2.mean()]).mean()
        return terms | {
            "unlabelled": self.options.unlabelled_weight
            * sigmoid_ramp(self.step, self.options.ramp)
            * taught
        }

    def taught(self, output: Output, target: Tensor, weight: Tensor) -> Tensor:
        return cross_entropy_dice(
            output.logits, target, weight if self.options.confidence else None
        )

    def begin(self, stage: Stage) -> None:
        if stage.unlabelled:
            for own, view in self.pairs():
                own.load_state_dict(view.state_dict())

    def after_step(self, stage: Stage, step: int) -> None:
        for own, view in self.pairs():
            average(own, view, self.options.average, buffers=False)
