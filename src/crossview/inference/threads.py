"""Threads of the CPU in a prediction: parts of a batch next to each other, one thread inside each.

Torch's own threads meet at the end of every operator. Next to another program each operator then
takes as long as the thread that waits longest for a processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor

from crossview.core.threads import ThreadPool

Result = TypeVar("Result")


class BatchThreads:
    """Splits batches over threads, each with its share of torch's own threads.

    A part has two samples at least, because torch computes a single one by other kernels, which
    round differently. Results that are large (many classes) come from more parts than threads, so
    that a network holds few of them at a time. On a GPU nothing is split.
    """

    LARGE = 2**24
    """Values of a part's result from which it is split further."""

    def __init__(self, device: torch.device, batch: int) -> None:
        self.threads = torch.get_num_threads()
        self.workers = min(self.threads, batch // 2) if device.type == "cpu" else 1
        self.pool = ThreadPool(self.workers) if self.workers > 1 else None
        self.values = 0  # of the result of one sample, known after the first batch

    def map(self, function: Callable[[Tensor], Tensor], batch: Tensor) -> Iterable[Tensor]:
        """Return ``function(batch)``, sample by sample, for a function of each sample alone."""
        at_once = max(1, min(self.workers, len(batch) // 2))
        needed = -(-len(batch) * self.values // self.LARGE) if batch.is_cpu else 1
        parts = max(at_once, min(needed, len(batch) // 2))

        def work(part: Tensor) -> Tensor:
            with threads_of_torch(max(1, self.threads // at_once)):
                return function(part)

        # Not one tensor: with many classes that would be a second copy of large maps.
        split = batch.tensor_split(parts)
        done = [*(map(work, split) if self.pool is None else self.pool.map(work, split))]
        self.values = done[0][0].numel()
        return chain.from_iterable(done)


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """Let the operators of this thread use ``count`` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def without_threads(results: Iterable[Result]) -> Iterator[Result]:
    """Yield the results; operators between them use one thread, those of the caller all."""
    iterator = iter(results)
    while True:
        with threads_of_torch(1):
            try:
                result = next(iterator)
            except StopIteration:
                return
        yield result


def one_thread() -> ThreadPool:
    """Return a thread in which torch does not start threads of its own."""
    return ThreadPool(1, lambda: torch.set_num_threads(1))
