"""Time of a training step by part: the loop's own calls, watched from outside while it runs.

A part's time is the length of the union of its intervals, by the device's clock on CUDA, so nested
or overlapping calls count once. The caller's thread is watched; other threads are listed under
"in threads".
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from benchmarks.loops import Loop
from benchmarks.timing import between, now, synchronise
from torch import nn

from crossview.data.prefetch import Prefetcher
from crossview.data.stream import Stream
from crossview.methods.blocks import pseudo_labels
from crossview.networks import NETWORKS
from crossview.training.optimiser import Guard

PARTS = ("data", "pseudo-labels", "components", "forward", "backward", "optimiser")
"""data, components: waits for a batch, for cleaned pseudo-labels. pseudo-labels: forward passes
without gradient. forward: those with. backward: gradients of gradients too. optimiser: the guarded
step and ``after_step``."""

Call = tuple[nn.Module, tuple[int, ...], bool]
"""A forward pass: the network, the shape of its input, whether with gradient."""


class Watch:
    """Intervals by part, and the networks' calls."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.intervals: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
        self.threads: dict[str, float] = defaultdict(float)
        self.calls: list[Call] = []
        self.owner, self.origin = threading.get_ident(), now(device)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the context as this part; in a thread other than the watch's by the host's clock."""
        if threading.get_ident() != self.owner:
            start = time.perf_counter()
            yield
            self.threads[name] += time.perf_counter() - start
            return
        start = now(self.device)
        yield
        self.intervals[name].append((start, now(self.device)))

    def watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return function(*arguments, **named)

        return call

    def seconds(self) -> dict[str, float]:
        """Seconds of each part so far; waits for the device."""
        synchronise(self.device)
        return {
            name: union(
                [
                    (between(self.origin, a), between(self.origin, b))
                    for a, b in self.intervals[name]
                ]
            )
            for name in PARTS
        }


def union(intervals: list[tuple[float, float]]) -> float:
    """The length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


@contextmanager
def watching(loop: Loop) -> Iterator[Watch]:
    """Watch the loop's steps while the context lasts."""
    watch = Watch(loop.device)
    method = loop.training.job.method
    networks = [
        module for module in method.modules() if isinstance(module, tuple(NETWORKS.values()))
    ]
    replaced = (
        (Prefetcher, "__next__", "data"),
        (Stream, "batch", "data"),
        (pseudo_labels.PendingLabels, "result", "components"),
        (pseudo_labels, "_clean_host", "components"),
        (torch.Tensor, "backward", "backward"),
        (torch.autograd, "grad", "backward"),
        (Guard, "step", "optimiser"),
        (method, "after_step", "optimiser"),
    )
    with ExitStack() as stack:
        for owner, name, part in replaced:
            stack.enter_context(
                mock.patch.object(owner, name, watch.watched(part, getattr(owner, name)))
            )
        for network in networks:
            stack.enter_context(_hooked(network, watch))
        yield watch


@contextmanager
def _hooked(network: nn.Module, watch: Watch) -> Iterator[None]:
    """Hooks around a network's forward pass."""
    starts: list[Any] = []

    def before(module: nn.Module, inputs: Any) -> None:
        watch.calls.append((module, tuple(inputs[0].shape), torch.is_grad_enabled()))
        starts.append(now(watch.device))

    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        part = "forward" if torch.is_grad_enabled() else "pseudo-labels"
        watch.intervals[part].append((starts.pop(), now(watch.device)))

    handles = [network.register_forward_pre_hook(before), network.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
