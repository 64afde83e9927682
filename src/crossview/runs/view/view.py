"""The verb view: scans with labels and predictions, in a browser on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from crossview.core.errors import fail
from crossview.core.progress import Progress
from crossview.core.run_folder import RunFolder
from crossview.core.text import listed
from crossview.reporting.viewer.server import Server
from crossview.runs.run import Run
from crossview.runs.view.of_folder import gallery_of_folder
from crossview.runs.view.of_run import gallery_of_run


def view(
    source: Run | Path | str,
    cases: Sequence[str] = (),
    *,
    data: Path | str | None = None,
    split: str | None = None,
    checkpoint_name: str | None = None,
    scans: Path | str | None = None,
    labels: Path | str | None = None,
    port: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Server:
    """Return a web server that shows scans with labels, predictions, views and doubt.

    It listens on 127.0.0.1, serves no files but its own page and the listed cases, and answers only
    at its own address, which contains a secret. ``serve_forever()`` runs it, and it is a context
    manager. A run's cases are predicted when they are first shown.

    Args:
        source: A run, its folder, or a folder of predictions.
        cases: Names of the cases to show, in this order. Default: all of the split, the worst
            first: by Dice where they are scored, else by doubt where it is known.
        data: Of a run: the folder of the data. Default: the folder that it was trained on.
        split: Of a run: "test", "validation", "unlabelled" or "labelled". Default: the first that
            has cases.
        checkpoint_name: Of a run: "last" or "selected". Default: by the recipe's selection.
        scans: Of predictions: the folder of their scans.
        labels: Of predictions: the folder of true labels, if there are any.
        port: The port; 0 for any free one.
        device: Of a run: "auto", "cpu", "cuda", "cuda:1" ...
        progress: Called with (done, total) while predictions are ranked.

    Returns:
        The server, not running yet. Its ``address`` is to be opened in a browser.

    Raises:
        UserError: If a case is unknown, the run has no weights yet, a scan is missing, or the port
            is taken.
    """
    if isinstance(source, Run) or RunFolder(Path(source)).exists:
        _check_unused({"--scans": scans, "--labels": labels}, "a folder of predictions", "a run")
        run = source if isinstance(source, Run) else Run.open(source)
        gallery = gallery_of_run(
            run, cases, data=data, split=split, checkpoint_name=checkpoint_name, device=device
        )
    else:
        of_run = {"--data": data, "--split": split, "--checkpoint": checkpoint_name}
        _check_unused(of_run, "a run", "a folder that is no run")
        gallery = gallery_of_folder(
            Path(source),
            cases,
            scans=None if scans is None else Path(scans),
            labels=None if labels is None else Path(labels),
            progress=progress,
        )
    return Server(gallery, port)


def _check_unused(options: Mapping[str, object], needed: str, found: str) -> None:
    """Raise UserError for options that the given source has no use for."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        fail(f"{listed(given)} can only be used with {needed}", found=found, fix="leave it out")
