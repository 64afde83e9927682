"""Number of operations of networks, counted by torch on the meta device without computing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from benchmarks.parts import Call
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def flops_of_call(network: nn.Module, classes: int, shape: tuple[int, ...], backward: bool) -> int:
    """Return operations (two per multiply-add) of a forward pass, and of its backward pass."""
    kind: Any = type(network)
    with torch.device("meta"):
        copy = kind(network.options, channels=shape[1], classes=classes)
        image = torch.empty(shape)
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(backward):
        output = copy(image)
        if backward:
            torch.stack([part.sum() for part in (output.logits, *output.scales)]).sum().backward()
    return int(counter.get_total_flops())


def flops_of_calls(calls: Iterable[Call], classes: int) -> int:
    """Return operations of all calls; with gradient, a whole backward pass is included."""
    known: dict[tuple[str, tuple[int, ...], bool], int] = {}
    total = 0
    for network, shape, backward in calls:
        key = (repr(network.options), shape, backward)
        if key not in known:
            known[key] = flops_of_call(network, classes, shape, backward)
        total += known[key]
    return total
