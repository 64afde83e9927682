"""Recipes with open keys, which are planned from the data: read every training scan, then decide.

Only source ``folder`` leaves keys open. A recipe with all keys, such as one printed by
``crossview recipe folder --data DATA``, is used as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossview import methods
from crossview.core.errors import Problem, raise_all
from crossview.core.progress import Progress
from crossview.data import fingerprint, sources
from crossview.data.case import Splits
from crossview.data.checks.case import inspect
from crossview.data.checks.findings import Facts, Finding
from crossview.data.checks.grid import on_grid
from crossview.data.checks.rules import check_set
from crossview.data.io.label_map import written_values
from crossview.data.sources import folder
from crossview.data.sources.folder_cases import find_cases
from crossview.recipe.layers import STEP_KEYS, Layers, Tables, layers, merged
from crossview.recipe.plan import CPU, GPU, Choice, Needs, Plan
from crossview.recipe.reasons import OURS
from crossview.recipe.resolve import Recipe, typed
from crossview.recipe.rules import make_plan
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


def open_keys(recipe: Layers) -> list[str]:
    """Return the keys that are left to a plan, such as "data.patch"; [] for a shipped data set."""
    if recipe.tables.get("data", {}).get("source") != "folder":
        return []
    return [
        f"{table}.{key}"
        for table, keys in OPEN.items()
        for key in keys
        if key not in recipe.own.get(table, {})
    ]


def resolve_planned(
    recipe: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    data: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Recipe, Plan | None]:
    """Return the resolved recipe, and the plan if one was made.

    A plan is made for source "folder" if neither the recipe nor ``--set`` gives all keys of OPEN.
    progress: called with (scans read, all scans). Raises UserError: mistakes in the recipe before
    a scan is read, then problems of the data.
    """
    read = layers(recipe, overrides)
    if not open_keys(read):
        return typed(read.tables), None
    read, values = _with_label_values(read, data)
    provisional = typed(merged(_stand_in(read.own), read.tables))
    found, facts = _fingerprint(provisional, read.own, data, progress)
    gpu = find_device(provisional.training.device).type == "cuda"
    plan = make_plan(found, read.own, _needs(provisional, read.shipped), GPU if gpu else CPU)
    plan = replace(plan, choices=(*values, *plan.choices))
    planned = typed(merged(read.tables, plan.tables()))
    _raise_errors(on_grid(facts, _canonical(planned)))
    return planned, plan


def _canonical(recipe: Recipe) -> tuple[float, ...]:
    """Return the recipe's voxel spacing along the axes right, front, head."""
    spacing = tuple(recipe.data.spacing)
    if len(spacing) != 3:
        return spacing
    order = recipe.data.model_dump()["nifti_axes"]
    return tuple(spacing[order.index(axis)] for axis in range(3))


def _raise_errors(findings: Sequence[Finding]) -> None:
    raise_all([finding.problem for finding in findings if finding.severity == "error"])


def _with_label_values(recipe: Layers, data: Path | None) -> tuple[Layers, list[Choice]]:
    """Return the layers with what the folder states of its labels, and their place in the plan."""
    stated, own = folder.stated_classes(data), recipe.own.get("data", {})
    values = [list(each) if isinstance(each, tuple) else each for each in stated.entries]
    held = "the values" if written_values(stated.entries) else "the numbers of the classes"
    reason = f"what label files hold for each class, by {stated.by}; predicted files hold {held}"
    choices = [
        choice
        for choice in (
            Choice("data.label_values", values, reason),
            Choice("data.overlap", list(stated.order), "the order in split.toml"),
            Choice("data.regions", _stated_regions(data, own), REGIONS),
        )
        if choice.value and choice.key.removeprefix("data.") not in own
    ]
    chosen = {choice.key.removeprefix("data."): choice.value for choice in choices}
    shipped = merged(recipe.shipped, {"data": chosen}) if chosen else recipe.shipped
    return replace(recipe, shipped=shipped), choices


REGIONS = "as the folder states them: name, classes, class written; set data.regions=[] for classes"


def _stated_regions(data: Path | None, own: Mapping[str, Any]) -> list[list[Any]]:
    """Return the folder's regions as raw keys, by the user's label values if there are any."""
    found = folder.stated_regions(data, own.get("label_values"))
    return [[region.name, list(region.classes), region.written] for region in found]


def _fingerprint(
    recipe: Recipe, own: Tables, data: Path | None, progress: Progress | None
) -> tuple[fingerprint.Fingerprint, Facts]:
    """Read and check every training scan. Raise UserError with the problems of the data."""
    values = recipe.data.model_dump()["label_values"]
    colour, overlap = own.get("data", {}).get("colour"), recipe.data.model_dump()["overlap"]
    cases = find_cases(data, label_values=values, colour=colour, overlap=overlap)
    chosen = {"nifti_axes": (0, 1, 2), "colour": cases.colour}
    options = folder.Options(**{**recipe.data.model_dump(), **chosen})
    splits = sources.find_splits(options, data)
    raise_all(unlabelled_problems(recipe, splits))
    classes = (
        options.classes if "classes" in own.get("data", {}) else len(cases.class_names) or None
    )
    facts = inspect((*splits.labelled, *splits.unlabelled), classes, progress=progress)
    begin = len(splits.labelled)
    roles = {"labelled": facts[:begin], "unlabelled": facts[begin:]}
    _raise_errors(check_set(roles, classes, str(data)))
    found = fingerprint.take(facts, cases.channel_names, cases.class_names, splits.regions)
    return replace(found, colour=cases.colour), roles


def unlabelled_problems(recipe: Recipe, splits: Splits) -> list[Problem]:
    """Return a problem if the method trains on unlabelled cases and none exist.

    Unlabelled cases whose predictions are to be taught, and have none, are a problem as well.
    """
    if splits.unpredicted:
        return list(splits.unpredicted)
    partly = any(case.partial for case in splits.labelled)  # unlabelled voxels may suffice
    if splits.unlabelled or partly or not recipe.uses_unlabelled:
        return []
    return no_unlabelled(recipe, splits)


def no_unlabelled(recipe: Recipe, splits: Splits) -> list[Problem]:
    """Return the problem of a data set without unlabelled cases."""
    return [
        Problem(
            f"{recipe.method.name} needs unlabelled cases",
            "[data]",
            f"{len(splits.labelled)} labelled cases and no other",
            fix="lower data.labelled, add scans without labels, or set method.name=supervised",
        )
    ]


def asked_on_resume(
    stored: Recipe, recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> Recipe:
    """Return the recipe that a resume asks for; open keys keep the run's values."""
    asked = layers(recipe, overrides)
    tables = asked.tables
    if tables.get("setting", "") != stored.setting or stored.data.source != "folder":
        return typed(tables)
    name = tables["method"]["name"]
    other = [] if name == stored.method.name else [f"method.name={name}"]
    return typed(layers(merged(stored.tables(), asked.own), other).tables)


def _needs(recipe: Recipe, shipped: Tables) -> Needs:
    method = methods.find(recipe.method.name)
    keys, stages = method.Options.model_fields, recipe.stages
    numbers = shipped.get("method", {})
    return Needs(
        steps={key: int(numbers.get(key, keys[key].default)) for key in STEP_KEYS if key in keys},
        unlabelled=recipe.uses_unlabelled,
        even=bool(method.halved(recipe.method)),
        cleans="largest_component" in keys,
        waits="ready_dice" in keys and len(stages) > 1 and not stages[0].unlabelled,
        student=bool(recipe.data.model_dump().get("predicted")),
        ours=_ours(shipped),
    )


def _ours(shipped: Tables) -> dict[str, float]:
    """Return the shipped values of setting "folder" for which :data:`OURS` gives a reason."""
    if shipped.get("setting") != "folder":
        return {}
    found = {}
    for name in OURS:
        table, _, key = name.partition(".")
        if key in shipped.get(table, {}):
            found[name] = shipped[table][key]
    return found


FITTING_SIDE = 4096
"""Side of a stand-in patch, which any stride and any number of levels fit."""


def _stand_in(own: Tables) -> Tables:
    """Return values for open keys that fit the user's, until the plan replaces them.

    So the user's keys are typed, and mistakes in them reported, before scans are read.
    """
    data, network, inference = (own.get(table, {}) for table in ("data", "network", "inference"))
    patch = data.get("patch")
    lists = [
        value
        for value in (data.get("spacing"), inference.get("stride"))
        if isinstance(value, (list, tuple))
    ]
    flat = network.get("name") == "unet" or 2 in map(len, lists)
    axes = len(patch) if isinstance(patch, (list, tuple)) else 2 if flat else 3
    tables: Tables = {
        "data": {"patch": [FITTING_SIDE] * axes, "classes": 2, "augmentation": "none"},
        "network": {"name": "unet" if axes == 2 else "vnet", "levels": 2},
        "inference": {"stride": [1] * axes},
    }
    if data.get("normalisation") == "foreground":
        tables["data"]["intensities"] = [[0.0, 1.0, 0.0, 1.0]]
    if data.get("intensities"):
        tables["data"]["normalisation"] = "foreground"
    return tables


def commented(recipe: Recipe, plan: Plan | None) -> str:
    """Return the recipe as TOML to edit, with the plan's reasons as comments before it."""
    if plan is None:
        return recipe.toml()
    return "".join(f"# {line}\n" for line in plan.text().splitlines()) + "\n" + recipe.toml()
