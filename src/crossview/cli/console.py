"""Output of the command: progress bars, results, remarks, errors. rich is imported on first use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crossview.core.errors import STOPS, UserError
from crossview.core.processes import speaks

if TYPE_CHECKING:
    from rich.console import RenderableType

    from crossview.core.progress import Progress


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """Show a progress bar on standard error; yield its function of (done, total).

    The bar disappears once all work is done, so that later output has the terminal.
    """
    from rich.console import Console
    from rich.progress import Progress as Bar

    shown = Bar(console=Console(stderr=True), transient=True)
    task = shown.add_task(what, total=None)

    def report_progress(done: int, total: int) -> None:
        shown.update(task, completed=done, total=total)
        if done >= total:
            shown.live.stop()  # shown.stop() would print an empty line where no bar is drawn
        elif shown.console.is_terminal:
            shown.live.start()

    try:
        yield report_progress
    except STOPS:
        shown.live.stop()
        say("stopped")
        raise
    finally:
        shown.live.stop()


def print_result(result: RenderableType) -> None:
    """Print a result to standard output, without the spaces that rich puts at the ends of lines."""
    from rich.console import Console

    console = Console()
    with console.capture() as captured:
        console.print(result)
    for line in captured.get().splitlines():
        print(line.rstrip(" "))


def say(text: str) -> None:
    """Print a line to standard error."""
    print(text, file=sys.stderr, flush=True)


def print_errors(error: UserError) -> None:
    """Print every problem to standard error, prefixed with "error". Only rank 0 prints."""
    if not speaks():
        return
    for problem in error.problems:
        say(f"error: {problem}")
    if len(error.problems) > 1:
        say(f"{len(error.problems)} problems")
