"""The command ``crossview``. Heavy modules are imported only when a verb runs."""

from __future__ import annotations

import io
import signal
import sys
from typing import Annotated

import typer

from crossview.cli import export, scans, show, train, view
from crossview.cli.console import print_errors
from crossview.cli.options import flag
from crossview.core.errors import Terminated, fail, of_people
from crossview.core.processes import leave, place, share_cores
from crossview.core.signals import end_on_signals

VERBS = (
    train.demo,
    scans.check,
    train.train,
    train.trial,
    scans.evaluate,
    scans.predict,
    scans.suggest,
    view.view,
    export.export,
    export.track,
    show.report,
    show.compare,
    train.bench,
    show.recipe,
    show.list_,
    show.doctor,
)
"""The verbs in the order of ``crossview --help``."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for verb in VERBS:
    app.command(verb.__name__.rstrip("_"))(verb)


def _show_version(asked: bool) -> None:
    """Print the version and exit."""
    if asked:
        from crossview.core.environment import VERSION, commit

        print(f"crossview {VERSION} {commit()}".strip())
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool,
        flag("--version", "Print the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Semi-supervised medical image segmentation, from few labelled and many unlabelled scans."""
    verb, here = context.invoked_subcommand, place()
    if verb != "train" and here is not None and here.size > 1:
        fix = "start it without torchrun or srun; only crossview train can run in several processes"
        what, found = f"crossview {verb} must run in one process", f"{here.size} processes"
        fail(what, found=found, expected="one", fix=fix)


def main() -> None:
    """Run the command.

    Exit codes: 0 done, 1 a bug in crossview, 2 a problem in the input or too little memory,
    130 Ctrl-C, 143 SIGTERM.
    """
    try:
        end_on_signals()
        share_cores()
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A file name that the terminal's encoding lacks must not end the command.
            sys.stdout.reconfigure(errors="backslashreplace")
        app()
    except BrokenPipeError:  # the reader of the output, such as head or less, has closed
        sys.exit(0)
    except Exception as error:
        told = of_people(error, " ".join(["crossview", *sys.argv[1:2]]))
        if told is None:
            raise
        print_errors(told)
        leave(2)
    except Terminated:
        leave(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        leave(128 + signal.SIGINT)
