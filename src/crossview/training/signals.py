"""Handlers of Ctrl-C and SIGTERM that let the step in progress end, so that it can be saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(once: bool = False) -> Iterator[list[int]]:
    """Yield a list that SIGINT and SIGTERM are appended to. A second signal has its usual effect.

    once: further signals do nothing. Each of several processes may get Ctrl-C twice, from the
    terminal and from the launcher.
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
    except ValueError:  # not the main thread: the caller handles signals
        yield caught
        return
    try:
        yield caught
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
