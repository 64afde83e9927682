"""What every network returns, and how one is built by its name."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Output:
    """What a network makes of an image (B, C, *S).

    logits: (B, K, *S). bottleneck: the deepest features (B, F, *S / 2^(levels-1)), after dropout in training.
    decoder: features of the input's size that enter the last convolution (B, filters, *S), before dropout.
    scales: logits of the coarser decoder stages at the input's size, where a method asks for them.
    """

    logits: Tensor
    bottleneck: Tensor
    decoder: Tensor
    scales: tuple[Tensor, ...] = ()
