"""The verb track: a run's curves and scores for TensorBoard or MLflow, from its journal.

Training itself writes for neither. The verb reads what there is, of a run that trains as of one
that has finished, and may be called again: equal rows give equal points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossview.core.errors import fail, nearest, raise_all
from crossview.core.files import check_writable
from crossview.data.io.extras import absent, is_absent
from crossview.runs.run import Run
from crossview.runs.track import mlflow, tensorboard
from crossview.runs.track.points import Point, points

WRITERS: dict[str, Callable[[Run, Sequence[Point], Path], Path]] = {
    "tensorboard": tensorboard.write,
    "mlflow": mlflow.write,
}

NEEDED = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}
"""Modules of the extra of each program."""


@dataclass(frozen=True)
class Tracked:
    """What was written. points: numbers of the run so far, over its steps."""

    path: Path
    points: int


def track(run: Run | Path | str, to: str, *, out: Path | str | None = None) -> Tracked:
    """Write a run's losses, health figures, speed, validation and final scores for another program.

    Args:
        run: A run, or its folder. It may still be training.
        to: "tensorboard" or "mlflow".
        out: The folder of several runs: TensorBoard's files are then in OUT/<name of the run>,
            MLflow's runs in OUT/mlflow.db. Default: RUN/tensorboard or RUN/mlflow.

    Returns:
        The file and the number of points.

    Raises:
        UserError: If it is not a run folder or has trained no step yet, the program is unknown, its
            extra is not installed, or the folder holds another run's curves.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if to not in WRITERS:
        fail(
            "there is no such program to track with",
            "--to",
            found=to,
            expected=nearest(to, WRITERS),
        )
    raise_all([absent(name, to) for name in NEEDED[to] if is_absent(name)])
    folder = run.path / to if out is None else Path(out)
    if out is not None and to == "tensorboard":
        folder /= run.path.absolute().name
    check_writable(folder)
    found = list(points(run))
    if not found:
        what, fix = "the run has no numbers yet", "wait for the first rows of its journal"
        fail(what, run.path, fix=fix)
    return Tracked(WRITERS[to](run, found, folder), len(found))
