"""Small runs, suites and scans for the campaigns, and the command in a forked process.

A fork of this process has imported everything, so a campaign of hundreds of runs does not import
torch hundreds of times.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.hold.suite import COMMON

from crossview.core.errors import UserError
from crossview.core.watchdog import exit_now, start_watchdog

SMALL = (
    *COMMON,
    "training.device=cpu",
    "training.checkpoint_every=0.05",
    "method.pretrain_steps=10",
    "method.train_steps=20",
)
"""Keys of recipe "demo" that make a run of a second or two."""


VERBS = (
    "crossview.cli.comparison",
    "crossview.runs.bench.bench",
    "crossview.runs.predict",
    "crossview.runs.suggest",
    "torch.distributed",
)
"""Modules that import what the verbs need when they run."""


def sets(keys: Sequence[str]) -> list[str]:
    return [part for key in keys for part in ("--set", key)]


def train_arguments(out: Path, *more: str, keys: Sequence[str] = SMALL) -> list[str]:
    return ["train", "demo", "--out", str(out), *sets(keys), *more]


def trained_run(out: Path) -> Path:
    """Train and evaluate a small run and return its folder."""
    for arguments in (train_arguments(out), ["evaluate", str(out)]):
        finished = command(arguments, out.parent / "log.txt")
        if finished != 0:
            raise UserError_of(out.parent / "log.txt")
    return out


def UserError_of(log: Path) -> UserError:  # noqa: N802
    from crossview.core.errors import Problem

    return UserError(Problem("a small run failed", str(log), log.read_text()[-2000:]))


def start(arguments: Sequence[str], log: Path, before: Callable[[], object] | None = None) -> int:
    """Run ``crossview`` in a fork of this process and return its id. Its output goes to ``log``.

    before: called in the fork first.
    """
    from crossview import cli

    for module in VERBS:
        import_module(module)
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(out, stream)
        sys.argv = ["crossview", *arguments]
        start_watchdog()
        if before is not None:
            before()
        cli.main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        exit_now(code)


def wait(child: int, seconds: float | None = None) -> int | None:
    """Return a child's exit code, or None if it still runs after ``seconds``."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(child, 0 if end is None else os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() >= end:
            return None
        time.sleep(0.005)


def command(arguments: Sequence[str], log: Path, before: Callable[[], object] | None = None) -> int:
    """Run ``crossview`` in a fork and return its exit code."""
    log.parent.mkdir(parents=True, exist_ok=True)
    code = wait(start(arguments, log, before))
    assert code is not None
    return code
