"""The command ``crossview``. Heavy modules are imported only when a verb runs."""

from __future__ import annotations

import io
import signal
import sys
from contextlib import suppress
from typing import Annotated

import typer

from crossview.arguments import show_version
from crossview.commands import scans, tables, training
from crossview.errors import Problem, Terminated, UserError, of_system
from crossview.launch import leave, place
from crossview.terminal import print_errors

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=show_version,
            is_eager=True,
            metavar="",
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Semi-supervised medical image segmentation, from few labelled and many unlabelled scans."""
    if context.invoked_subcommand != "train" and (here := place()) is not None and here.size > 1:
        fix = "start it without torchrun or srun; only crossview train can run in several processes"
        raise UserError(
            Problem(
                f"crossview {context.invoked_subcommand} must run in one process",
                "",
                f"{here.size} processes",
                "one",
                fix,
            )
        )


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def main() -> None:
    """Run the command.

    Exit codes: 0 done, 1 a bug in crossview, 2 a problem in the input, 130 Ctrl-C, 143 SIGTERM.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that the terminal's encoding lacks must not end the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except UserError as error:
        print_errors(error)
        leave(2)
    except BrokenPipeError:  # the reader of the output, such as head or less, has closed
        sys.exit(0)
    except OSError as error:
        print_errors(of_system(error))
        leave(2)
    except Terminated:
        leave(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        leave(128 + signal.SIGINT)


VERBS = (
    training.demo,
    scans.check,
    training.train,
    scans.evaluate,
    scans.predict,
    scans.suggest,
    tables.report,
    tables.compare,
    training.bench,
    tables.recipe,
    tables.list_,
    tables.doctor,
)
"""The verbs in the order of ``crossview --help``."""

for verb in VERBS:
    app.command(verb.__name__.rstrip("_"))(verb)
