"""Contract of a method: a loss for one batch and a prediction, nothing else.

A method knows nothing of files, devices, precision or loops. It owns its networks, lists its stages
of training, and turns a batch into named, weighted loss terms. The training loop does the rest.
docs/how-to/add-a-method.md shows two complete methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from crossview.core.table import Table
from crossview.core.tensors import Batch
from crossview.methods.blocks.parallel import Together, in_turn
from crossview.methods.heads import CLASSES, Classes

Terms = dict[str, Tensor]
"""Weighted loss terms by name, scalar tensors."""

BuildNetwork = Callable[..., nn.Module]
"""Function that builds one network of the recipe.

Keyword arguments replace keys of [network] for this network: build(upsample="linear"). The argument
``scales`` asks for auxiliary heads on that many coarser levels, fewer if there are fewer levels.
"""


Notes = Callable[[], Mapping[str, Tensor]]
"""Function that makes tensors by name when they are wanted."""


@dataclass(frozen=True)
class Stage:
    """Stage of training.

    Args:
        name: Name in the journal and in the names of pictures.
        steps: Number of optimiser steps.
        unlabelled: True if batches carry unlabelled images.
        from_selected: True to start from the previous stage's selected checkpoint (its last weights
            under selection "last"), False to continue from the current weights.
        keep_optimiser: True to take the optimiser's momentum from where the weights come from.
        ready_dice: Dice that every trained network must reach for every class on labelled crops
            (:mod:`crossview.training.stages`). Until then the stage continues beyond its steps,
            and the next stage is shortened by as many. 0: the stage ends after its steps.
    """

    name: str
    steps: int
    unlabelled: bool
    from_selected: bool = False
    keep_optimiser: bool = False
    ready_dice: float = 0.0


class MethodOptions(Table):
    """Keys of [method] that every method has.

    A method's ``Options`` derives from this class. A key is one line: a type, a default, bounds and
    a description. Unknown keys are refused.
    """

    name: str = Field(description="a name from `crossview list methods`")
    variant: Literal["corrected", "released"] = Field(
        "corrected",
        description="preset of plain keys: the release with its defects corrected, or as it is",
    )


class Method(nn.Module):
    """Base class of all methods.

    A subclass defines ``loss`` and ``views``, and ``stages`` unless its options do. It sets
    ``Options`` if it adds keys. Everything else has a default. All state (networks, an averaged
    teacher, a memory) must be parameters or buffers of the module, so that checkpoints contain it.
    Parameters that are not trained need ``requires_grad_(False)``.

    Attributes:
        options: The method's keys of [method].
        show: Tensors for pictures, by name; ``loss`` adds them by :meth:`note`.
        health: Scalars for the journal, by name; ``loss`` adds them by :meth:`note`.
        together: Runs passes of networks that do not depend on each other and returns their
            outputs: ``together(partial(self.view1, image), partial(self.view2, image))``. The
            training loop may replace it by one that runs them at the same time.
        head: The decision of the model, exclusive classes or regions
            (:mod:`crossview.methods.heads`); set by the recipe.
    """

    Options: ClassVar[type[MethodOptions]] = MethodOptions
    """Model of the method's keys of [method]."""

    peers: ClassVar[bool] = True
    """True if all views are trained networks, whose disagreement means doubt.

    False if only the first one is trained, and the others average it.
    """

    recordable: ClassVar[bool] = False
    """True if passes may be replayed from a recording (:mod:`crossview.training.graphs`).

    Then an output of a network must not be read after its next pass of the same kind, gradients
    must be first derivatives by weights alone, and every step of a stage must back-propagate
    through the same outputs.
    """

    partial_labels: ClassVar[bool] = False
    """True if ``loss`` allows for voxels whose class is not known (``batch.partial``).

    See :func:`crossview.methods.blocks.partial.known`.
    """

    overlapping: ClassVar[bool] = False
    """True if the method trains regions too: ``loss`` takes every decision from ``self.head``."""

    @classmethod
    def separable(cls, options: Any) -> bool:
        """True if several processes can share a batch.

        Then the loss of a batch must be the mean of the losses of its pairs (i, i + n/2), apart
        from batch norm. Two examples that are not: a Dice over the whole batch, and device noise
        that is not drawn sample by sample.

        Args:
            options: The method's keys of [method].
        """
        return False

    @classmethod
    def halved(cls, options: Any) -> tuple[str, ...]:
        """Return the keys of [training] for batch sizes that must be even.

        These are the batches whose first half is mixed with the second one.

        Args:
            options: The method's keys of [method].

        Returns:
            Names such as "labelled_batch" and "unlabelled_batch".
        """
        return ()

    def __init__(self, options: Any, build_network: BuildNetwork) -> None:
        """Store the options; a subclass then builds its networks.

        Args:
            options: The method's keys of [method], an instance of ``Options``.
            build_network: Function that builds a network, once per network.
        """
        super().__init__()
        self.options = options
        self.show: dict[str, Tensor] = {}
        self.health: dict[str, Tensor] = {}
        self.together: Together = in_turn
        self.head: Classes = CLASSES

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Return the stages of training, in order. The default: those of the options."""
        stages: tuple[Stage, ...] = self.options.stages
        return stages

    @property
    def passes_at_once(self) -> int:
        """Return the number of passes that ``loss`` gives to ``together``. The default: 1, none."""
        return 1

    def loss(self, batch: Batch, stage: Stage, step: int) -> Terms | Iterator[Terms]:
        """Return the weighted loss terms of one batch. A subclass must define it.

        Networks are in training mode, torch's generators are freshly seeded.

        Args:
            batch: Images, labels and random numbers of this step. Take random numbers from
                ``batch.rng``, so that a resumed run repeats them.
            stage: The current stage.
            step: The step within the stage, from 0.

        Returns:
            Scalar tensors by name; their sum is the loss. Or a generator of such dicts: each dict
            is back-propagated, and its graph freed, before the next one is computed.

        Raises:
            NotImplementedError: If a subclass does not define it.
        """
        raise NotImplementedError

    def note(self, batch: Batch, pictures: Notes, health: Notes = dict) -> None:
        """Keep tensors for pictures and scalars for the journal, if the batch asks for them.

        Args:
            batch: The batch of this step.
            pictures: Function that returns images or labels by name; called if ``batch.show``.
            health: Function that returns scalars by name; called if ``batch.watch``.
        """
        if batch.show:
            self.show |= pictures()
        if batch.watch:
            self.health |= health()

    def begin(self, stage: Stage) -> None:
        """Prepare a stage, for example copy a student to its teacher. The default does nothing.

        Called once per stage, after its weights are loaded; never on resume.

        Args:
            stage: The stage that starts.
        """

    def after_step(self, stage: Stage, step: int) -> None:
        """Update what follows the trained networks, such as a teacher. The default does nothing.

        Called after each optimiser step.

        Args:
            stage: The current stage.
            step: The step within the stage, from 0.
        """

    def views(self, image: Tensor) -> Mapping[str, Tensor]:
        """Return the logits of each network. A subclass must define it.

        Args:
            image: Images, float (B, C, *S).

        Returns:
            Logits (B, K, *S) by name of the network: "view1", "view2"; "student", "teacher".

        Raises:
            NotImplementedError: If a subclass does not define it.
        """
        raise NotImplementedError

    def learners(self, image: Tensor) -> Mapping[str, Tensor]:
        """Return those of :meth:`views` that the optimiser trains: all, or the first."""
        views = self.views(image)
        return views if self.peers else dict([next(iter(views.items()))])

    def combine(self, views: Mapping[str, Tensor]) -> Tensor:
        """Return the method's prediction from its views. The default: from their mean.

        Args:
            views: Logits (B, K, *S) by name, as from :meth:`views`.

        Returns:
            Probabilities of the classes (softmax) or regions (sigmoid), at least float32
            (B, K, *S).
        """
        return self.head.probabilities(torch.stack(list(views.values())).mean(0).float())
