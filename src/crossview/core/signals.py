"""Ctrl-C and SIGTERM: how they end the command, and a step of training.

Few modules are imported here, so that the command heeds Ctrl-C as soon as it starts.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from crossview.core.watchdog import exit_now

HANDLED = (signal.SIGINT, signal.SIGTERM)


def end_on_signals() -> None:
    """Let Ctrl-C raise KeyboardInterrupt and SIGTERM raise Terminated, except during an import.

    An exception would leave the imported module half made, and libraries that catch it fail in
    other ways (numpy: RecursionError). Nothing is being written then, so the process just ends.
    A signal that the process was started to ignore stays ignored.
    """
    _handle(_end)


def end_at_once() -> None:
    """Let Ctrl-C and SIGTERM end the process without a word: all its work is done.

    An exception would be printed by whatever library is cleaning up.
    """
    _handle(lambda number, frame: exit_now(128 + number))


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in HANDLED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            with suppress(ValueError):  # not the main thread
                signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            exit_now(128 + number)
        frame = frame.f_back
    from crossview.core.errors import Terminated

    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


@contextmanager
def stop_signals(once: bool = False) -> Iterator[list[int]]:
    """Yield a list that SIGINT and SIGTERM are appended to. A second signal has its usual effect.

    once: further signals do nothing. Each of several processes may get Ctrl-C twice, from the
    terminal and from the launcher.
    """
    caught: list[int] = []
    usual = {number: signal.getsignal(number) for number in HANDLED}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def catch(number: int, frame: object) -> None:
        caught.append(number)
        if not once:
            restore()

    try:
        for number in HANDLED:
            signal.signal(number, catch)
    except ValueError:  # not the main thread: the caller handles signals
        yield caught
        return
    try:
        yield caught
    finally:
        restore()
