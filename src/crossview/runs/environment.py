"""Content of environment.json: what a run is made with, and from."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crossview.core.environment import environment_now
from crossview.core.plugins import remembered
from crossview.recipe.resolve import Recipe
from crossview.runs.prepare import Prepared
from crossview.runs.warm_start import RECORD, Taken


def about(
    recipe: Recipe,
    prepared: Prepared,
    timed: Mapping[str, Any],
    processes: int,
    taken: Taken | None = None,
) -> dict[str, Any]:
    """Return the content of a run's environment.json. timed: the origin of measured keys."""
    splits, unlabelled = prepared.splits, prepared.stream.unlabelled
    by_command = Path(sys.argv[0]).stem in ("crossview", "__main__")
    return {
        **environment_now(prepared.device),
        "command": shlex.join(["crossview", *sys.argv[1:]]) if by_command else "",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "processes": processes,
        "data": data_of(prepared),
        "labelled": [case.id for case in splits.labelled],
        "unlabelled": 0 if unlabelled is None else len(unlabelled),
        "training_cases": prepared.fingerprint,
        "validation": [case.id for case in splits.validation],
        "test": len(splits.test),
        "class_names": list(splits.class_names),
        **({"scored_names": list(splits.scored_names)} if splits.regions else {}),
        "channels": splits.channels,
        "numbered": splits.numbered,
        "notes": [*splits.notes, *(taken.notes() if taken else ())],
        **({RECORD: taken.as_json()} if taken else {}),
        **timed,
        **remembered(recipe.method.name),
    }


def data_of(prepared: Prepared) -> str:
    """Return the data folder as environment.json has it."""
    return str(prepared.data.absolute()) if prepared.data else ""
