"""One measured precision for the runs of a comparison.

Where float32 and bfloat16 take about the same time, two measurements may choose differently, and a
comparison would mix precisions. So a run takes the choice of an earlier run next to it, if both
have the same data, device, patch and network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossview.core.errors import UserError
from crossview.core.run_folder import RunFolder
from crossview.recipe.resolve import Recipe

KEYS = ("precision_seconds", "precision_of")
"""Keys of environment.json of a run whose precision was measured, or taken from another run."""


def earlier_choice(path: Path, recipe: Recipe, device_name: str, data: str) -> tuple[str, str]:
    """Return the precision of the earliest comparable run next to ``path``, and its folder's name.

    Two empty texts if there is none, or the recipe asks for a precision itself.

    Args:
        path: The folder of the new run.
        recipe: Its recipe.
        device_name: Its device, as in environment.json.
        data: Its data folder, as in environment.json.
    """
    if recipe.training.precision != "auto" or not path.parent.is_dir():
        return "", ""
    wanted = (device_name, data, *_shape(recipe.tables()))
    found = []
    for folder in path.parent.iterdir():
        about = RunFolder(folder).environment
        if folder.name == path.name or not any(about.get(key) for key in KEYS):
            continue
        tables = _tables(folder)
        if (about.get("device_name"), about.get("data"), *_shape(tables)) == wanted:
            choice = str(tables["training"]["precision"])
            found.append((str(about.get("started")), folder.name, choice))
    if not found:
        return "", ""
    _, name, precision = min(found)
    return precision, name


def _tables(folder: Path) -> dict[str, Any]:
    """Return a run's recipe, {} for one that is damaged or still being made."""
    try:
        return RunFolder(folder).tables
    except UserError:
        return {}


def _shape(tables: dict[str, Any]) -> tuple[Any, ...]:
    """Return the parts of a recipe on which the time of a pass depends."""
    data = tables.get("data", {})
    return data.get("source"), list(data.get("patch", ())), tables.get("network")
