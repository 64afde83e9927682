"""Recipes with open keys, which are planned from the data: read every training scan, then decide.

Only source ``folder`` leaves keys open. A recipe with all keys, such as one printed by
``crossview recipe folder --data DATA``, is used as it is.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crossview import methods
from crossview.core.errors import raise_all
from crossview.data import fingerprint
from crossview.data.checks.case import inspect
from crossview.data.checks.rules import check_set
from crossview.data.sources import folder
from crossview.recipe.layers import STEP_KEYS, Tables, layers, load, merged
from crossview.recipe.plan import CPU, GPU, Needs, Plan, make_plan
from crossview.recipe.resolve import Recipe, resolve
from crossview.runs.prepare import unlabelled_problems
from crossview.runs.run import Run, recipe_on_resume
from crossview.training.device import find_device

OPEN = {
    "data": (
        "classes",
        "spacing",
        "nifti_axes",
        "patch",
        "normalisation",
        "augmentation",
        "foreground_share",
    ),
    "network": ("name", "filters", "levels"),
    "training": ("labelled_batch",),
    "inference": ("stride", "largest_component"),
}
"""Keys of a recipe of source "folder" that a plan fills in."""


def resolve_planned(
    recipe: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    data: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Recipe, Plan | None]:
    """Return the resolved recipe, and the plan if one was made.

    A plan is made for source "folder" if neither the recipe nor ``--set`` gives all keys of OPEN.
    progress: called with (scans read, all scans). Raises UserError: mistakes in the recipe before
    a scan is read, then problems of the data.
    """
    shipped, given = layers(recipe, overrides)
    tables = merged(shipped, given)
    if tables.get("data", {}).get("source") != "folder" or not missing(given):
        return resolve(recipe, overrides), None
    provisional = resolve(merged(_stand_in(given), tables))
    cases = folder.find_cases(data)
    options = folder.Options(**{**provisional.data.model_dump(), "nifti_axes": (0, 1, 2)})
    splits = folder.splits(data, options)
    raise_all(unlabelled_problems(provisional, splits))
    classes = (
        options.classes if "classes" in given.get("data", {}) else len(cases.class_names) or None
    )
    facts = inspect((*splits.labelled, *splits.unlabelled), classes, progress=progress)
    begin = len(splits.labelled)
    findings = check_set(
        {"labelled": facts[:begin], "unlabelled": facts[begin:]}, classes, str(data)
    )
    raise_all([finding.problem for finding in findings if finding.severity == "error"])
    found = fingerprint.take(facts, cases.channel_names, cases.class_names, str(data))
    gpu = find_device(provisional.training.device).type == "cuda"
    plan = make_plan(found, given, _needs(provisional, shipped), GPU if gpu else CPU)
    return resolve(merged(tables, plan.tables())), plan


def asked_on_resume(
    stored: Recipe, recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> Recipe:
    """Return the recipe that a resume asks for; open keys keep the run's values."""
    asked, tables = load(recipe, overrides), stored.tables()
    if asked.get("setting") != tables.get("setting") or stored.data.source != "folder":
        return resolve(recipe, overrides)
    _, given = layers(recipe, overrides)
    method = asked["method"]["name"]
    return resolve(
        merged(tables, given), [] if method == stored.method.name else [f"method.name={method}"]
    )


def resumed_recipe(
    path: Path, recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> Recipe:
    """Return the recipe to resume in the run folder ``path``.

    Raises UserError if it is not a run folder, or its recipe differs from the one asked for.
    """
    run = Run.open(path)
    return recipe_on_resume(run, asked_on_resume(run.recipe, recipe, overrides))


def missing(given: Tables) -> list[str]:
    """Return the keys that a plan would fill in."""
    return [
        f"{table}.{key}"
        for table, keys in OPEN.items()
        for key in keys
        if key not in given.get(table, {})
    ]


def _needs(recipe: Recipe, shipped: Tables) -> Needs:
    method = methods.find(recipe.method.name)
    keys = method.Options.model_fields
    numbers = shipped.get("method", {})
    return Needs(
        steps={key: int(numbers.get(key, keys[key].default)) for key in STEP_KEYS if key in keys},
        unlabelled=any(stage.unlabelled for stage in recipe.stages()),
        even=bool(method.halved(recipe.method)),
        cleans="largest_component" in keys,
        waits="ready_dice" in keys
        and not recipe.stages()[0].unlabelled
        and len(recipe.stages()) > 1,
    )


def _stand_in(given: Tables) -> Tables:
    """Return values that fit the user's keys, to report their mistakes before scans are read.

    The plan replaces these values.
    """
    data, network, inference = (given.get(table, {}) for table in ("data", "network", "inference"))
    strides = [step for step in _list(inference.get("stride")) if isinstance(step, int)]
    flat = (
        network.get("name") == "unet"
        or 2 in (len(_list(data.get(key))) for key in ("patch", "spacing"))
        or len(strides) == 2
    )
    levels = network.get("levels")
    multiple = 2**levels if isinstance(levels, int) and 2 <= levels <= 8 else 16
    side = -(-max([multiple, *strides]) // multiple) * multiple
    patch = _list(data.get("patch")) or [side] * (2 if flat else 3)
    return {
        "data": {
            "patch": patch,
            "classes": 2,
            "augmentation": "none",
            **(
                {"intensities": [[0.0, 1.0, 0.0, 1.0]]}
                if data.get("normalisation") == "foreground"
                else {}
            ),
            **({"normalisation": "foreground"} if data.get("intensities") else {}),
        },
        "network": {"name": "unet" if len(patch) == 2 else "vnet", "levels": 2},
        "inference": {"stride": [1] * len(patch)},
    }


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def told(plan: Plan, width: int = 100) -> str:
    """Return the plan as text: every key with its value and its reason."""
    labelled, scans = plan.fingerprint.labelled, len(plan.fingerprint.shapes)
    lines = [
        f"planned from {labelled} labelled and {scans - labelled} unlabelled scans, "
        f"for a {plan.budget.name}:"
    ]
    for choice in plan.choices:
        lines.append(f"  {choice.key} = {json.dumps(choice.value)}")
        lines += textwrap.wrap(
            choice.reason, width - 6, initial_indent=" " * 6, subsequent_indent=" " * 6
        )
    return "\n".join(lines)


def commented(recipe: Recipe, plan: Plan | None) -> str:
    """Return the recipe as TOML to edit, with the plan's reasons as comments before it."""
    if plan is None:
        return recipe.toml()
    return "".join(f"# {line}\n" for line in told(plan).splitlines()) + "\n" + recipe.toml()
