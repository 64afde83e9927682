"""The verbs that hand a run to other programs: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossview.cli.console import bar
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
