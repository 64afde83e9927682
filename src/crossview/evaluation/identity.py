"""What a run's recipe is, apart from its seed and the machine: runs of one row share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from crossview import methods, networks
from crossview.core.errors import UserError
from crossview.data import sources
from crossview.inference.options import InferenceOptions
from crossview.training.options import MEASURED, TrainingOptions

NOT_IDENTITY = frozenset(
    {
        "data.fold",
        "inference.batch",
        "training.seed",
        "training.device",
        *(f"training.{key}" for key in MEASURED),
        "training.deterministic",
        "training.workers",
        "training.memory_gb",
        "training.checkpoint_every",
        "training.evaluate_every",
        "training.log_every",
        "training.picture_every",
    }
)
"""Keys that may differ between the seeds of one method.

They say where, how and on which fold a run was trained, not what it is.
"""

OWNERS: Mapping[str, Callable[[Mapping[str, Any]], type[BaseModel]]] = {
    "data": lambda table: sources.find(str(table.get("source"))).Options,
    "network": lambda table: networks.find(str(table.get("name"))).Options,
    "method": lambda table: methods.find(str(table.get("name"))).Options,
    "training": lambda table: TrainingOptions,
    "inference": lambda table: InferenceOptions,
}
"""The model of each table."""


def identity(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a recipe is, apart from its seed and the machine.

    Its keys are "table.key", without those of NOT_IDENTITY. A key that did not exist when the run
    was made has its default, as when the run's recipe is read, so runs of different versions can
    share a row.
    """
    free = NOT_IDENTITY
    if recipe["training"].get("selection", "last") != "last":
        free -= {"training.evaluate_every"}  # how often it is scored is part of picking the best
    return {
        f"{name}.{key}": value
        for name, keys in recipe.items()
        if isinstance(keys, Mapping)
        for key, value in {**_defaults(name, keys), **keys}.items()
        if f"{name}.{key}" not in free
    }


def _defaults(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a table's keys as TOML has them; {} for an unknown plugin."""
    if name not in OWNERS:
        return {}
    try:
        fields = OWNERS[name](table).model_fields
    except UserError:
        return {}
    found = {key: field.get_default() for key, field in fields.items() if not field.is_required()}
    return {key: list(each) if isinstance(each, tuple) else each for key, each in found.items()}
