"""Averaged teacher of mean teacher, UA-MT and BCP, its noise and entropy, and the ramp of a weight.

A. Tarvainen, H. Valpola. Mean teachers are better role models. NeurIPS 2017, arXiv 1703.01780.
"""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)

LOGARITHM_EPSILON = 1e-6
"""Constant that keeps the logarithm of a probability of 0 finite."""


def teacher_of(student: Network) -> Network:
    """Return a copy of the student whose parameters take no gradient; optimisers skip it."""
    return copy.deepcopy(student).requires_grad_(False)


def warmed_up(step: int, decay: float) -> float:
    """Return min(1 - 1/(step + 1), decay).

    At step 0 the teacher becomes the student, then the mean of all students until the value reaches
    ``decay``.
    """
    return min(1 - 1 / (step + 1), decay)


def average(teacher: nn.Module, student: nn.Module, decay: float, *, buffers: bool) -> None:
    """Update the teacher in place: t <- decay t + (1 - decay) s for every parameter.

    Args:
        teacher: t.
        student: s, of the same architecture.
        decay: Share of the teacher that is kept, from 0 to 1.
        buffers: True to average the running statistics too and to copy the counters. False if the
            teacher collects its own statistics in training mode.
    """
    with torch.no_grad():
        torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1 - decay)
        for own, new in zip(teacher.buffers(), student.buffers(), strict=True) if buffers else ():
            if own.is_floating_point():
                own.lerp_(new, 1 - decay)
            else:
                own.copy_(new)


def noisy(image: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Return image + deviation clip(N(0, 1), -2, 2); ``generator`` is on the image's device."""
    return (
        torch.empty_like(image)
        .normal_(0, deviation, generator=generator)
        .clamp_(-2 * deviation, 2 * deviation)
        .add_(image)
    )


def entropy(probability: Tensor) -> Tensor:
    """Return -sum_c p log(p + 1e-6) of class probabilities p (B, K, *S).

    The result is (B, *S), from 0 to ln K.
    """
    return -(probability * (probability + LOGARITHM_EPSILON).log()).sum(1)


def sigmoid_ramp(step: float, length: float) -> float:
    """Return exp(-5 (1 - min(step / length, 1))^2) (Laine and Aila, ICLR 2017).

    The weight of an unsupervised term, small while the networks are still bad: 0.0067 at step 0, 1
    from step ``length`` on. With length 0 it is always 1.
    """
    if length <= 0:
        return 1.0
    return math.exp(-5 * (1 - min(step / length, 1)) ** 2)
