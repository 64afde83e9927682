"""Background work on one item while the next one is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield ``map(function, items)``; ``function`` runs in a thread, one item ahead of the results.

    An error is raised in place of its item's result.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        running: Future[Result] | None = None
        for item in items:
            finished, running = running, thread.submit(function, item)
            if finished is not None:
                yield finished.result()
        if running is not None:
            yield running.result()
