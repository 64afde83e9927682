"""The verb that shows scans in a browser: view."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossview.cli.console import bar, say
from crossview.cli.options import DataOfRun, Device, Plugin, load_plugin


def view(
    source: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder, or a folder of predictions."),
    ],
    cases: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CASE...]", help="Cases to show; by default all, worst first."),
    ] = None,
    data: DataOfRun = None,
    split: Annotated[
        str | None,
        typer.Option(help="test, validation, unlabelled or labelled; by default the first found."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="last or selected; by default by the recipe's selection."),
    ] = None,
    scans: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Of a folder of predictions: the folder of their scans."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Of a folder of predictions: the folder of true labels."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")
    ] = 0,
    device: Device = "auto",
    plugin: Plugin = None,
) -> None:
    """Show scans with labels, predictions and doubt in a browser, from this machine only."""
    from crossview.runs.view.view import view as run_view

    load_plugin(plugin)
    with bar("reading predictions") as progress:
        server = run_view(
            source,
            cases or (),
            data=data,
            split=split,
            checkpoint_name=checkpoint,
            scans=scans,
            labels=labels,
            port=port,
            device=device,
            progress=progress,
        )
    with server:
        print(f"open in a browser: {server.address}", flush=True)
        say("Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended")
