"""Pools of threads in which a lack of memory is an error."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")

ROOM = 4 << 20
"""Bytes that must be free to start a thread: Python's first objects take about 1 MiB in it."""


class ThreadPool(ThreadPoolExecutor):
    """A pool of threads that raises MemoryError where Python alone would wait for ever.

    ``threading.Thread.start`` waits until the new thread says that it runs. One that lacks memory
    for its first objects ends before it can (CPython 3.11).
    """

    def __init__(self, threads: int, begin: Callable[[], object] = lambda: None) -> None:
        """Start no thread yet.

        Args:
            threads: The most threads.
            begin: Called first in each.
        """
        self.threads, self.begun = threads, 0

        def count() -> None:
            self.begun += 1
            begin()

        super().__init__(threads, initializer=count)

    def submit(
        self, function: Callable[Given, Result], /, *args: Given.args, **named: Given.kwargs
    ) -> Future[Result]:
        """Return the future result of a call in a thread. MemoryError if none can be started."""
        if self.begun < self.threads:
            try:
                # Not an array: that could be in memory which is kept for arrays alone.
                mmap.mmap(-1, ROOM).close()
            except OSError as error:
                raise MemoryError("can't start new thread: out of memory") from error
        return super().submit(function, *args, **named)
