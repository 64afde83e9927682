"""The gradients of one training step, shared by the loop and the tests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from crossview.core.tensors import Batch
from crossview.methods.method import Method, Stage
from crossview.methods.plugin import checked_terms


def backpropagate(
    method: Method,
    batch: Batch,
    stage: Stage,
    step: int,
    forward: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> dict[str, Tensor]:
    """Back-propagate the loss of a batch part by part, and return its detached terms.

    Args:
        method: The method. The gradients of its parameters are added to.
        batch: The batch of the step.
        stage: The stage of training.
        step: The step within the stage, from 0.
        forward: Makes the context of the forward passes, such as autocast.

    Returns:
        The terms of the loss by name, scalars on the batch's device. The loss is their sum.

    Raises:
        UserError: If what the method returns is not a loss.
    """
    parts, terms = checked_terms(method, batch, stage, step), dict[str, Tensor]()
    while True:
        with forward():
            part = next(parts, None)
        if part is None:
            return terms
        torch.stack(list(part.values())).sum().backward()  # type: ignore[no-untyped-call]
        terms |= {name: value.detach() for name, value in part.items()}
        del part  # frees its autograd graph before the next pass
