from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crossview.core.errors import STOPS, UserError
from crossview.core.processes import speaks

if TYPE_CHECKING:
    from crossview.core.progress import Progress

FULL = 0.999
"""Doubt above which a scan counts as fully doubtful."""


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """Show a progress bar on standard error; yield its function of (done, total).

    The bar disappears once all work is done, so that later output has the terminal.
    """
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    shown = Bar(console=console, transient=True)
    task = shown.add_task(what, total=None)

    def stop() -> None:
        if shown.live.is_started:  # stopping a bar that never started would print an empty line
            shown.stop()

    def report_progress(done: int, total: int) -> None:
        if not console.is_terminal:
            return
        shown.update(task, completed=done, total=total)
        if done < total:
            shown.start()
        else:
            stop()

    try:
        yield report_progress
    except STOPS:
        stop()
        print("stopped", file=sys.stderr)
        raise
    finally:
        stop()


def print_errors(error: UserError) -> None:
    """Print every problem to standard error, prefixed with "error". Only rank 0 prints."""
    if not speaks():
        return
    for problem in error.problems:
        print(f"error: {problem}", file=sys.stderr)
    if len(error.problems) > 1:
        print(f"{len(error.problems)} problems", file=sys.stderr)
