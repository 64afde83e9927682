"""Threads of the CPU in a prediction: parts of a batch next to each other, one thread inside each.

Torch's own threads meet at the end of every operator. Next to another program each operator then
takes as long as the thread that waits longest for a processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


class BatchThreads:
    """Splits batches over threads, each with its share of torch's own threads.

    A part has two samples at least, because torch computes a single one by other kernels, which
    round differently. On a GPU nothing is split.
    """

    def __init__(self, device: torch.device, batch: int) -> None:
        self.threads = torch.get_num_threads()
        self.workers = min(self.threads, batch // 2) if device.type == "cpu" else 1
        self.pool = ThreadPoolExecutor(self.workers) if self.workers > 1 else None

    def map(self, function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """Return ``function(batch)`` for a function of each sample alone."""
        parts = max(1, min(self.workers, len(batch) // 2))

        def work(part: Tensor) -> Tensor:
            with threads_of_torch(max(1, self.threads // parts)):
                return function(part)

        if self.pool is None or parts == 1:
            return work(batch)
        return torch.cat(list(self.pool.map(work, batch.tensor_split(parts))))


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


def one_thread() -> ThreadPoolExecutor:
    """Return a thread in which torch does not start threads of its own."""
    return ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
