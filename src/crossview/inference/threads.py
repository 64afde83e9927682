"""Forward passes of a batch in several threads of the CPU."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor


class BatchThreads:
    """Splits batches over threads, each with its share of torch's own threads.

    Torch's threads wait for each other in every operator: next to another program each operator
    then takes as long as its slowest thread. Threads with a part of the batch meet only at its end.
    A part has two samples at least, because torch computes a single one by other kernels, which
    round differently.
    """

    def __init__(self, device: torch.device, batch: int) -> None:
        self.workers = min(torch.get_num_threads(), batch // 2) if device.type == "cpu" else 1
        self.pool = ThreadPoolExecutor(self.workers) if self.workers > 1 else None

    def map(self, function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """Return ``function(batch)`` for a function of each sample alone."""
        parts = min(self.workers, len(batch) // 2)
        if self.pool is None or parts < 2:
            return function(batch)
        threads = torch.get_num_threads()

        def work(part: Tensor) -> Tensor:
            torch.set_num_threads(max(1, threads // parts))
            return function(part)

        try:
            return torch.cat(list(self.pool.map(work, batch.tensor_split(parts))))
        finally:
            torch.set_num_threads(threads)  # also what new threads begin with
