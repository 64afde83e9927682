"""A recipe over another number of steps: ``--steps N`` as ``--set`` texts.

The stages keep their shares of the steps, and the keys that count steps are scaled with them, so a
short run goes through the whole schedule: warm-up, drops of the learning rate, its end at zero.
Ramps that are a share of the steps need no change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossview.core.errors import fail
from crossview.core.text import count
from crossview.recipe.layers import STEP_KEYS, load, parse_set, with_total_steps
from crossview.recipe.resolve import Recipe
from crossview.recipe.rules import READY_DICE

COUNTED = {
    "method.ramp_every": 1,
    "method.consistency_after": 0,
    "training.decay_after": 0,
    "training.decay_every": 1,
}
"""Keys that count steps, besides the lengths of stages, each with its least value."""


def over_steps(
    recipe: str | Path | Mapping[str, Any], overrides: Sequence[str], total: int
) -> list[str]:
    """Return ``--set`` texts that stretch or shorten a recipe to ``total`` steps.

    Keys of COUNTED that ``overrides`` set keep their value.

    Args:
        recipe: A shipped setting, a TOML file, a run folder, or the tables as a mapping.
        overrides: Texts "table.key=value".
        total: Steps of all stages together.

    Raises:
        UserError: If the recipe cannot be read or has no steps to scale, ``total`` is smaller than
            its number of stages, or ``overrides`` set the length of a stage as well.
    """
    given = {f"{table}.{key}" for table, key, _ in map(parse_set, overrides)}
    if both := sorted(given & {f"method.{key}" for key in STEP_KEYS}):
        fix = "use --steps for the whole run, or --set for each stage"
        fail("the steps are given twice", "--steps", found=f"also --set {both[0]}", fix=fix)
    tables = load(recipe, overrides)
    shares = with_total_steps(tables, total, where="--steps")["method"]
    lengths = [key for key in STEP_KEYS if tables["method"].get(key)]
    ratio = total / sum(int(tables["method"][key]) for key in lengths)
    texts = [f"method.{key}={shares[key]}" for key in lengths]
    for name, least in COUNTED.items():
        table, _, key = name.partition(".")
        steps = tables.get(table, {}).get(key)
        if isinstance(steps, int) and name not in given:
            texts.append(f"{name}={max(least, round(ratio * steps))}")
    return texts


def caution(
    recipe: str | Path | Mapping[str, Any],
    overrides: Sequence[str],
    short: Recipe,
    planned: int | None = None,
) -> str:
    """Return a caution for less than half of a recipe's own steps; "" if there is no need for one.

    A plan has its own: its labelled stage waits until the networks are ready.

    Args:
        recipe: As in `over_steps`.
        overrides: As in `over_steps`.
        short: The recipe over the new number of steps, resolved.
        planned: Steps of a plan for the device, if the recipe leaves them to a plan.
    """
    method = load(recipe, overrides)["method"]
    own = planned or sum(int(method.get(key) or 0) for key in STEP_KEYS)
    first, *later = short.stages
    total = first.steps + sum(stage.steps for stage in later)
    waits = getattr(short.method, "ready_dice", None)
    if 2 * total >= own or waits or not short.uses_unlabelled:
        return ""
    text = f"{total:,} steps in all are few: {'a plan' if planned else 'this recipe'} has {own:,}."
    if waits is not None and later and not first.unlabelled:
        text += (
            f" Its labelled stage ends after {count(first.steps, 'step')}, ready or not, and "
            "networks that still miss a class teach each other nothing about it. "
            f"--set method.ready_dice={READY_DICE} lets that stage run on until they find each."
        )
    return f"{text} Compare with --set method.name=supervised: unlabelled scans may do harm."
