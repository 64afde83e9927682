"""A run's points as a run of MLflow, in a database of one file.

MLflow's folder of files is in maintenance mode and refused by MLflow 3.17, hence SQLite.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from crossview.core.errors import fail, first_line
from crossview.data.io.extras import need
from crossview.runs.run import Run
from crossview.runs.track.points import Point, started

EXTRA = "mlflow"

FILE = "mlflow.db"

EXPERIMENT = "crossview"

ARTIFACTS = "mlflow-artifacts:/"
"""Place of files of runs, of which there are none: in the server's folder, so no path is stored."""

SAME = "crossview.run"
"""Tag of the run's identity: when it began, and its command."""

AT_ONCE = 1000
"""Metrics that MLflow takes in one call."""

PARAMETERS = 100
"""Parameters that MLflow takes in one call."""

LONGEST = 500
"""Characters of a parameter that every version of MLflow takes."""


def write(run: Run, found: Sequence[Point], out: Path) -> Path:
    """Add the points that the database lacks, to the run's own row or to a new one."""
    # Without this MLflow would report its use to its makers.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow, sql = need("mlflow.tracking", EXTRA), need("sqlalchemy.exc", EXTRA)
    errors = need("mlflow.exceptions", EXTRA)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    path = out / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        address = f"sqlite:///{path.absolute()}"
        if not path.exists():
            # The first store of a database keeps the current folder's path for artifacts.
            stores = need("mlflow.store.tracking.sqlalchemy_store", EXTRA)
            stores.SqlAlchemyStore(address, ARTIFACTS)
        _add(mlflow.MlflowClient(address), run, found)
    except (errors.MlflowException, sql.SQLAlchemyError) as error:
        fix = "choose another --out, or move the file away"
        fail("MLflow can't use its database", path, found=first_line(error), fix=fix)
    return path


def _add(client: Any, run: Run, found: Sequence[Point]) -> None:
    """Add parameters and points to the run's row, and end it once the run is finished."""
    entities = need("mlflow.entities", EXTRA)
    row = _row(client, run)
    run_id, known = row.info.run_id, row.data.params
    parameters = [
        entities.Param(name, value)
        for name, value in _parameters(run.recipe.tables())
        if name not in known
    ]
    for first in range(0, len(parameters), PARAMETERS):
        client.log_batch(run_id, params=parameters[first : first + PARAMETERS])
    metrics = [
        entities.Metric(each.name, each.value, int(1000 * each.time), each.step)
        for each in _missing(client, run_id, found)
    ]
    for first in range(0, len(metrics), AT_ONCE):
        client.log_batch(run_id, metrics=metrics[first : first + AT_ONCE])
    if run.finished:
        end = started(run) + (run.journal.seconds or 0)
        client.set_terminated(run_id, end_time=int(1000 * end))


def _row(client: Any, run: Run) -> Any:
    """Return the run's row of the database, made if there is none."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    experiment_id = (
        client.create_experiment(EXPERIMENT, artifact_location=ARTIFACTS + EXPERIMENT)
        if experiment is None
        else experiment.experiment_id
    )
    about = run.environment
    text = f"{about.get('started')} {about.get('command')}"
    identity = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    for row in client.search_runs([experiment_id], f"tags.`{SAME}` = '{identity}'"):
        return row
    begun = int(1000 * started(run))
    return client.create_run(experiment_id, begun, {SAME: identity}, run.path.absolute().name)


def _missing(client: Any, run_id: str, found: Sequence[Point]) -> Iterator[Point]:
    """Yield the points that the run of the database lacks."""
    by_name: dict[str, list[Point]] = defaultdict(list)
    for each in found:
        by_name[each.name].append(each)
    for name, each_of_name in by_name.items():
        there = {(old.step, old.value) for old in client.get_metric_history(run_id, name)}
        yield from (each for each in each_of_name if (each.step, each.value) not in there)


def _parameters(tables: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the recipe's keys with their values."""
    for table, keys in tables.items():
        if isinstance(keys, Mapping):
            yield from ((f"{table}.{key}", str(value)[:LONGEST]) for key, value in keys.items())
        else:
            yield table, str(keys)
