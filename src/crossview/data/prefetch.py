"""Batches prepared ahead, in threads."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass

from crossview.core.tensors import Batch
from crossview.core.threads import ThreadPool
from crossview.data.stream import Stream


@dataclass(frozen=True)
class Request:
    """The arguments of ``Stream.batch``."""

    stage: int
    step: int
    unlabelled: bool


class Prefetcher:
    """An iterator over requested batches, in order, that prepares the next ones in threads.

    The batches are the same for any number of workers; with 0 each is prepared on request. An error
    in a worker is raised in place of its batch. ``waited``: seconds that the caller has waited for
    batches so far.
    """

    def __init__(
        self, stream: Stream, requests: Iterable[Request], *, workers: int = 1, ahead: int = 2
    ) -> None:
        self.waited = 0.0
        self._stream = stream
        self._requests = iter(requests)
        self._pool = ThreadPool(workers) if workers else None
        self._pending: deque[Future[Batch]] = deque()
        if self._pool:
            for _ in range(max(workers, ahead)):
                self._submit()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        started = time.perf_counter()
        try:
            if self._pool is None:
                return self._prepare(next(self._requests))
            if not self._pending:
                raise StopIteration
            future = self._pending.popleft()
            self._submit()
            return future.result()
        finally:
            self.waited += time.perf_counter() - started

    def rest(self) -> None:
        """Wait until no batch is in preparation, so that nothing else uses the device meanwhile."""
        wait(self._pending)

    def close(self) -> None:
        """Stop preparing and drop unfinished batches."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        self._pending.clear()

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _submit(self) -> None:
        request = next(self._requests, None)
        if request is not None and self._pool is not None:
            self._pending.append(self._pool.submit(self._prepare, request))

    def _prepare(self, request: Request) -> Batch:
        return self._stream.batch(request.stage, request.step, unlabelled=request.unlabelled)
