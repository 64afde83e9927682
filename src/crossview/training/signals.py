"""Ctrl-C and SIGTERM end the step in progress, not the run's folder."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(once: bool = False) -> Iterator[list[int]]:
    """Catch SIGINT and SIGTERM into a list, so that the step in progress ends and is saved. A second one takes its usual course.

    once: further ones do nothing. Of several processes each may get Ctrl-C twice, from the terminal and from what started it.
    """
    caught: list[int] = []
    handled = (signal.SIGINT, signal.SIGTERM)
    usual = {number: signal.getsignal(number) for number in handled}

    def catch(number: int, frame: object) -> None:
        caught.append(number)
        for each in () if once else handled:
            signal.signal(each, usual[each])

    try:
        for number in handled:
            signal.signal(number, catch)
    except ValueError:  # not the main thread: whoever runs it there handles signals
        yield caught
        return
    try:
        yield caught
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
