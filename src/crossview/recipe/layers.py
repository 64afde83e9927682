"""Raw recipes: the tables of a TOML file, merged from layers of which later ones win.

The layers are the shipped setting (``la-8``), the method's own numbers for that setting
(``methods/<name>.toml``) with the preset of its variant, the user's file, and ``--set`` texts.
:mod:`crossview.recipe.resolve` types the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from crossview.core import plugins
from crossview.core.errors import Problem, fail, nearest, raise_all
from crossview.core.parse import from_toml
from crossview.core.run_folder import RunFolder
from crossview.core.text import count
from crossview.training.options import CHANGEABLE_ON_RESUME, MEASURED, TrainingOptions, current

Tables = dict[str, Any]
"""A raw recipe: {"setting": name, "data": {...}, "network": {...}, ...}, with keys from TABLES."""

TABLES = ("data", "network", "method", "training", "inference")

OWNED_BY_METHOD = (
    "labelled_batch",
    "unlabelled_batch",
    "learning_rate",
    "momentum",
    "weight_decay",
    "schedule",
    "decay_after",
    "decay_every",
    "decay_factor",
    "decay_power",
    "selection",
)
"""Keys of [training] that belong to a method's published recipe, replaced with [method]."""

STEP_KEYS = ("steps", "pretrain_steps", "train_steps")
"""Keys of [method] that set the lengths of its stages."""

SHIPPED = resources.files("crossview").joinpath("recipe")


@dataclass(frozen=True)
class Layers:
    """Shipped numbers, and the user's keys with ``--set`` texts, which win."""

    shipped: Tables
    own: Tables

    @property
    def tables(self) -> Tables:
        """Return the recipe's raw tables, a new copy."""
        return merged(self.shipped, self.own)


def layers(recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Layers:
    """Read a recipe and apply ``--set`` texts.

    ``method.name`` and ``method.variant`` are applied first, wherever they stand. They replace the
    whole [method] table and the keys of OWNED_BY_METHOD with that method's numbers for the setting.

    Args:
        recipe: A shipped setting, a TOML file, a run folder, or the tables as a mapping.
        overrides: Texts "table.key=value".

    Raises:
        UserError: If there is no such recipe, or it or a text cannot be read.
    """
    own = _own_tables(recipe)
    family, setting = setting_tables(own["setting"]) if own.get("setting") else ("", {})
    sets = [parse_set(text) for text in overrides]
    named = {key: value for table, key, value in sets if table == "method" and key in BY_NAME}
    method = {**BY_NAME, **setting.get("method", {}), **own.get("method", {}), **named}
    name, variant = str(method["name"]), str(method["variant"])
    numbers: Tables = {"method": {"name": name, "variant": variant}}
    if family:
        numbers = method_tables(name, family, variant)
    if named:
        own = _without_method(own)
    for table, key, value in sets:
        if table != "method" or key not in BY_NAME:
            own = merged(own, {table: {key: value}})
    return Layers(merged(setting, numbers), own)


BY_NAME = {"name": "cml", "variant": "corrected"}
"""Keys of [method] that choose its numbers, with their defaults."""


def load(recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Tables:
    """Return the raw tables of a recipe, its merged :func:`layers`. Raise UserError as they do."""
    return layers(recipe, overrides).tables


@cache
def shipped_file(folder: str, name: str) -> Tables:
    """Return the tables of a shipped file, parsed once per process. They must not be changed."""
    return from_toml(SHIPPED.joinpath(folder, f"{name}.toml").read_text(encoding="utf-8"))


def _names(folder: str) -> list[str]:
    names = [file.name for file in SHIPPED.joinpath(folder).iterdir()]
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def shipped_settings() -> list[str]:
    """Return the names of the shipped settings, such as "la-8".

    A file "la" that others extend ("la-4", "la-8") holds what they share; it is no setting.
    """
    names = _names("settings")
    shared = {name.rpartition("-")[0] for name in names}
    settings = [name for name in names if name not in shared]
    return sorted(settings, key=lambda name: (name.partition("-")[0], len(name)))


def shipped_methods() -> list[str]:
    """Return the names of the methods with published numbers in ``recipe/methods``."""
    return _names("methods")


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Tables:
    """Return ``below`` updated with ``above``; nested tables are merged the same way."""
    result = deepcopy(dict(below))
    for key, value in above.items():
        both_tables = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both_tables else deepcopy(value)
    return result


def setting_tables(setting: str) -> tuple[str, Tables]:
    """Return a setting's family ("la") and raw tables. Raise UserError for an unknown name."""
    if setting not in shipped_settings():
        fix = nearest(setting, shipped_settings())
        if Path(setting).is_dir():
            fix = f"for scans in this folder: crossview train folder --data {setting}"
        what, expected = f"there is no recipe '{setting}'", "a shipped setting or a TOML file"
        fail(what, expected=expected, fix=fix)
    own = dict(shipped_file("settings", setting))
    family = own.pop("base", setting)
    return family, merged(shipped_file("settings", family), own)


def method_tables(method: str, family: str, variant: str) -> Tables:
    """Return a method's numbers for a family, with the variant's preset expanded into plain keys.

    A plugin ("module:Class") gets the defaults of its Options, and CML's steps, batch and schedule.
    Raises UserError for an unknown method, or one without numbers for the family.
    """
    named = {"name": method, "variant": variant}
    if plugins.SEPARATOR in method:
        cml = shipped_file("methods", "cml").get(family, {})
        steps = {key: value for key, value in cml.get("method", {}).items() if key in STEP_KEYS}
        own = {"method": {**named, **plugins.steps(method, steps)}}
        return merged({"training": cml.get("training", {})}, own)
    if method not in shipped_methods():
        fix = plugins.nearest_method(method, shipped_methods())
        fail(f"there is no method '{method}'", "[method] name", fix=fix)
    numbers = shipped_file("methods", method).get(family)
    if numbers is None:
        fix = "write them into a recipe file"
        fail(f"method '{method}' has no numbers for '{family}'", "[method] name", fix=fix)
    tables = {table: keys for table, keys in numbers.items() if table != "released"}
    if variant == "released":
        tables = merged(tables, numbers.get("released", {}))
    return merged({"method": named}, tables)


@cache
def parse_set(text: str) -> tuple[str, str, Any]:
    """Split a ``--set`` argument "table.key=value" into (table, key, value).

    The value is read as TOML; if that fails, it is text. Callers must not modify it. Raises
    UserError for a text of another form or an unknown table.
    """
    path, equals, value = text.partition("=")
    table, dot, key = path.strip().partition(".")
    if not (equals and dot and key):
        known = {**setting_tables("demo")[1], "training": TrainingOptions.model_fields}
        named = " or ".join(
            f"{name}.{path.strip()}" for name in known if path.strip() in known[name]
        )
        fix = f"did you mean {named}?" if named else ""
        expected = "TABLE.KEY=VALUE, e.g. training.seed=1"
        fail(f"cannot read --set '{text}'", expected=expected, fix=fix)
    if table not in TABLES:
        fail(f"unknown table '{table}'", f"--set {text}", fix=nearest(table, TABLES))
    try:
        return table, key, from_toml(f"value = {value}")["value"]
    except ValueError:
        return table, key, value.strip()


def _without_method(own: Tables) -> Tables:
    """Return the user's tables without what belongs to a method that is replaced."""
    training = own.get("training", {})
    kept = {key: value for key, value in training.items() if key not in OWNED_BY_METHOD}
    return {key: value for key, value in own.items() if key != "method"} | {"training": kept}


def _own_tables(recipe: str | Path | Mapping[str, Any]) -> Tables:
    """Return {"setting": name} for a name, else the tables of a mapping, file or run folder."""
    if isinstance(recipe, Mapping):
        return _checked(dict(recipe), "the recipe")
    path = Path(recipe)
    run = RunFolder(path)
    if str(recipe) not in shipped_settings() and run.exists:
        return current(_checked(run.tables, str(path)))
    return read_tables(path) if path.suffix == ".toml" else {"setting": str(recipe)}


def read_tables(path: Path) -> Tables:
    """Return the tables of a TOML file. Raise UserError if it is missing or is not a recipe."""
    fix = (
        "create one to edit: crossview recipe la-8 > my.toml; "
        "for your own scans: crossview recipe folder --data DATA > my.toml"
    )
    return _checked(read_toml(path, "recipe file", fix), str(path))


def read_toml(path: Path, noun: str, fix: str = "") -> Tables:
    """Return the content of a TOML file. Raise UserError, with ``fix`` if it does not exist."""
    try:
        return from_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fail(f"the {noun} does not exist", path, fix=fix)
    except ValueError as error:
        fail("not a TOML file", path, found=error)
    except OSError as error:
        fail(f"cannot read the {noun}", path, found=error.strerror or error)


def _checked(tables: Tables, where: str) -> Tables:
    """Return ``tables``. Raise UserError if they are not the tables of a recipe."""
    known = (*TABLES, "setting")
    problems = [
        Problem(f"unknown table '{key}'", where, fix=nearest(key, known))
        for key in tables
        if key not in known
    ]
    problems += [
        Problem(f"'{key}' is not a table", where)
        for key in TABLES
        if not isinstance(tables.get(key, {}), Mapping)
    ]
    if not isinstance(tables.get("setting", ""), str):
        found, expected = repr(tables["setting"]), "a name from crossview list recipes"
        problems.append(Problem("'setting' is not a name", where, found, expected))
    raise_all(problems)
    return tables


def with_total_steps(tables: Mapping[str, Any], total: int, where: str = "[method]") -> Tables:
    """Return the tables with the stages' steps scaled in proportion, so that they sum to ``total``.

    A stage of 0 steps keeps 0; any other gets at least one. Raises UserError if the method has no
    such keys, or ``total`` is smaller than the number of stages.
    """
    method = tables.get("method", {})
    steps = {key: int(method[key]) for key in STEP_KEYS if method.get(key)}
    if not steps or total < len(steps):
        fail(
            "cannot divide the steps among the stages",
            where,
            found=f"{count(total, 'step')} for {count(len(steps), 'stage')}",
            expected=f"{len(steps)} steps or more"
            if steps
            else f"a method with {' or '.join(STEP_KEYS)} above 0",
            fix=plugins.how_to_load(str(method.get("name"))),
        )
    shares, left, of = {}, total, sum(steps.values())
    for later, (key, share) in zip(reversed(range(len(steps))), steps.items(), strict=True):
        shares[key] = min(max(1, round(left * share / of)), left - later)
        left, of = left - shares[key], of - share
    return merged(tables, {"method": shares})


def changes(stored: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return {"table.key": (stored value, new value)} for what a resume must not change.

    A key that ``stored`` lacks is no change: it did not exist when the run was made.
    """
    found = {}
    for table in TABLES:
        for key, value in new[table].items():
            old = stored.get(table, {}).get(key, value)
            free = table == "training" and (
                key in CHANGEABLE_ON_RESUME or (key in MEASURED and value == "auto")
            )
            if value != old and not free:
                found[f"{table}.{key}"] = old, value
    return found


def differences(stored: Mapping[str, Any], new: Mapping[str, Any]) -> list[Problem]:
    """Return a problem per key of :func:`changes`."""
    fix = "restore the value, or choose another --out"
    problems = []
    for name, (old, value) in changes(stored, new).items():
        table, _, key = name.partition(".")
        what = "the value differs from the resumed run's"
        problems.append(Problem(what, f"[{table}] {key}", repr(value), repr(old), fix))
    return problems
