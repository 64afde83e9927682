"""The command ``crossview``. Nothing heavy is imported until a verb runs."""

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
            help="Print the version and stop.",
        ),
    ] = False,
) -> None:
    """Semi-supervised medical image segmentation: train from a few labelled and many unlabelled scans."""
    if context.invoked_subcommand != "train" and (here := place()) is not None and here.size > 1:
        fix = "start it once; only crossview train can be started by torchrun"
        raise UserError(
            Problem(
                f"crossview {context.invoked_subcommand} runs in one process",
                "",
                f"{here.size} processes",
                "one",
                fix,
            )
        )


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def main() -> None:
    """Entry point. Exit codes: 0 done, 2 a fault in the input, 1 a fault of ours, 130 or 143 stopped by Ctrl-C or SIGTERM."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a name that the terminal's encoding lacks is no reason to fail
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except UserError as error:
        print_errors(error)
        leave(2)
    except BrokenPipeError:  # the reader of our output has gone: head, less
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
"""In the order of ``crossview --help``."""

for verb in VERBS:
    app.command(verb.__name__.rstrip("_"))(verb)
