"""Work on one item in the background while the next one is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``map(function, items)``, the function running in a thread, one item ahead of the results. Errors come up in their place."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        running: Future[Result] | None = None
        for item in items:
            finished, running = running, thread.submit(function, item)
            if finished is not None:
                yield finished.result()
        if running is not None:
            yield running.result()
