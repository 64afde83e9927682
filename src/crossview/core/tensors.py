"""Tensors that pass between data, networks and methods: a batch and a network's output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from crossview.core.partial import PartialLabels
from crossview.core.rng import Randomness


@dataclass(frozen=True)
class Batch:
    """One training batch: all that a method sees of the data, no label of an unlabelled image.

    Attributes:
        image: Labelled images, float (B, C, *S).
        label: Their classes, int64 (B, *S), or values of ``partial``.
        unlabelled: Images without labels, float (B', C, *S); None in a stage that uses none.
        rng: The random streams of this step.
        show: True if the method should fill ``self.show`` with tensors for pictures. The loss must
            not depend on it.
        watch: True if the method should fill ``self.health`` with scalars for the journal. The
            loss must not depend on it.
        partial: Values of ``label`` that are no class, or None if all are classes. Losses of the
            label take :func:`crossview.methods.blocks.partial.known` of it.
    """

    image: Tensor
    label: Tensor
    unlabelled: Tensor | None
    rng: Randomness
    show: bool = False
    watch: bool = False
    partial: PartialLabels | None = None


@dataclass(frozen=True)
class Output:
    """Output of a network for images (B, C, *S).

    Attributes:
        logits: (B, K, *S).
        bottleneck: Deepest features (B, F, *S / 2^(levels-1)), after dropout in training.
        decoder: Features (B, filters, *S) that enter the last convolution, before its dropout.
        scales: Logits of the coarser levels at the input's size, each (B, K, *S), finest first, if
            a method asks for them.
        dropped: ``decoder`` after dropout, or None if the network has no dropout there.
    """

    logits: Tensor
    bottleneck: Tensor
    decoder: Tensor
    scales: tuple[Tensor, ...] = ()
    dropped: Tensor | None = None


def parts(output: Output) -> list[Tensor]:
    """Return all tensors of an output, the logits first."""
    dropped = [] if output.dropped is None else [output.dropped]
    return [output.logits, output.bottleneck, output.decoder, *output.scales, *dropped]


def rebuilt(like: Output, tensors: Sequence[Tensor]) -> Output:
    """Return the output whose :func:`parts` are ``tensors``."""
    logits, bottleneck, decoder, *others = tensors
    scales, dropped = others[: len(like.scales)], others[len(like.scales) :]
    return Output(logits, bottleneck, decoder, tuple(scales), dropped[0] if dropped else None)
