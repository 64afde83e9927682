"""A small process that speaks for this one, if it ends without a word.

The system kills a process for which memory runs out, and libraries crash for the same reason, in
torch within a convolution. Neither leaves the process a chance to print anything.
Few modules are imported here, since the watchdog starts before all else: it then takes 5 MB.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

LAUNCHER = "CROSSVIEW_LAUNCHER"
"""Environment variable with the id of the process that started this one for ``--gpus``."""

UNHEARD = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTTOU")
"""Signals to the whole process group, which are not for the watchdog.

SIGTTOU is for one that writes to a terminal which the shell has taken back (``stty tostop``).
"""

_lines: list[int] = []
"""The pipe's end that closes with this process."""


def start_watchdog() -> None:
    """Start the watchdog, where the system can fork a process. ``--gpus`` watches its own."""
    if not hasattr(os, "fork") or LAUNCHER in os.environ:
        return
    ours, theirs = os.pipe()
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, name) for name in UNHEARD])
    try:
        if os.fork() == 0:
            os.close(theirs)
            _watch(ours)
    except OSError:  # no more processes are allowed: the command can do without
        os.close(theirs)
    else:
        _lines.append(theirs)
    os.close(ours)
    signal.pthread_sigmask(signal.SIG_SETMASK, usual)


def dismiss_watchdog() -> None:
    """End the watchdog: this process is about to end by itself."""
    while _lines:
        line = _lines.pop()
        with suppress(OSError):  # the watchdog has been killed
            os.write(line, b"\n")
        os.close(line)


def exit_now(code: int) -> NoReturn:
    """End this process with an exit code, without Python's clean-up."""
    dismiss_watchdog()
    os._exit(code)


def _watch(line: int) -> NoReturn:
    """Wait in the forked process until the other has ended, and report unless it said so."""
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):  # a reader of the output must not wait for the watchdog
            os.dup2(nothing, stream)
        before = _killed_for_memory()
        if not os.read(line, 1):
            print(f"error: {_report(before)}", file=sys.stderr, flush=True)  # noqa: T201
    finally:
        os._exit(0)


def _report(before: int) -> str:
    from crossview.core.errors import SMALLER, Problem

    fix = "repeat the command (train, predict: with --resume); finished work is kept"
    found = "killed (kill -9), or crashed inside a library, perhaps for lack of memory"
    if _killed_for_memory() > before:
        found, fix = "killed by the system, because memory ran out", SMALLER
    where = " ".join(["crossview", *sys.argv[1:2]])
    if "RANK" in os.environ:
        where += f", rank {os.environ['RANK']}"
    return str(Problem("ended without a message", where, found, fix=fix))


def _killed_for_memory() -> int:
    """Return how many processes the system has killed for lack of memory (Linux), else 0."""
    with suppress(OSError, ValueError), open("/proc/vmstat", encoding="ascii") as facts:
        return sum(int(fact.split()[1]) for fact in facts if fact.startswith("oom_kill "))
    return 0
