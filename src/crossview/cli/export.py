"""The verbs that hand a run to other programs: export, track."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from crossview.cli.console import bar, say
from crossview.cli.options import DataOfRun, Plugin, RunPath, flag, load_plugin
from crossview.core.text import count


def export(
    run: RunPath,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The file to write, *.onnx.")],
    data: DataOfRun = None,
    overwrite: Annotated[bool, flag("--overwrite", "Replace a file that exists.")] = False,
    plugin: Plugin = None,
) -> None:
    """Write a finished run's forward pass as ONNX, checked with onnxruntime on its scans."""
    from crossview.runs.export import BOUND
    from crossview.runs.export import export as run_export

    load_plugin(plugin)
    with bar("reading scans") as progress:
        made = run_export(run, to, data=data, overwrite=overwrite, progress=progress)
    windows = count(made.windows, "window")
    print(
        f"written: {made.path} ({made.path.stat().st_size / 1e6:.1f} MB)\n"
        f"compared with the run by onnxruntime on {windows} of as many scans: probabilities differ "
        f"by {made.difference:.1g} at most ({BOUND:g} is allowed)"
    )
    if not made.any_size:
        print("the file takes images of the patch's sides only")


def track(
    run: RunPath,
    to: Annotated[str, typer.Option(metavar="NAME", help="tensorboard or mlflow.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of several runs; by default RUN/tensorboard or RUN/mlflow."
        ),
    ] = None,
) -> None:
    """Write a run's curves and scores for TensorBoard or MLflow, also while it trains."""
    from crossview.core.run_folder import RunFolder
    from crossview.runs.track.track import track as run_track

    made = run_track(run, to, out=out)
    print(f"written: {made.path} ({count(made.points, 'number')})")
    if not RunFolder(run).finished:
        say("the run is not finished: the same command adds what is new")
    folder = out or made.path.parent
    address = f"sqlite:///{made.path.absolute()}"
    words = ["mlflow", "ui", "--backend-store-uri", address]
    print(shlex.join(words if to == "mlflow" else ["tensorboard", "--logdir", str(folder)]))
