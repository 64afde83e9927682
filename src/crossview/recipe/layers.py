"""Recipes: every number of a training run, in five tables of a TOML file.

A recipe is merged from layers, and later layers win: the shipped setting (``la-8``), the method's
own numbers for that setting (``methods/<name>.toml``), the preset of a variant, a user's
file, and ``--set`` keys. The tables [data], [network] and [method] belong to the source, network
and method they name; :mod:`crossview.resolve` types them with their owner's ``Options``. This
module types the two fixed tables and merges raw ones.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Any

from crossview.core import plugins
from crossview.core.errors import Problem, UserError, nearest, raise_all
from crossview.training.options import CHANGEABLE_ON_RESUME, MEASURED, current

Table = dict[str, Any]


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


def _read(name: str) -> Tables:
    return tomllib.loads(
        resources.files("crossview")
        .joinpath("recipe", *name.split("/"))
        .read_text(encoding="utf-8")
    )


def shipped_settings() -> list[str]:
    """Return the names of the shipped settings, such as "la-8"."""
    files = resources.files("crossview").joinpath("recipe", "settings").iterdir()
    names = [Path(file.name).stem for file in files if file.name.endswith(".toml")]
    return sorted(
        (name for name in names if "setting" in _read(f"settings/{name}.toml")), key=_by_number
    )


def _by_number(name: str) -> tuple[str, int]:
    stem, _, number = name.partition("-")
    return stem, int(number) if number.isdigit() else 0


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
        raise UserError(
            Problem(
                f"there is no recipe '{setting}'",
                expected="a shipped setting or a TOML file",
                fix=nearest(setting, shipped_settings()),
            )
        )
    own = _read(f"settings/{setting}.toml")
    family = own.pop("base", setting)
    return family, merged(_read(f"settings/{family}.toml"), own) if family != setting else own


def shipped_methods() -> list[str]:
    """Return the names of the methods with published numbers in ``recipes/methods``."""
    files = resources.files("crossview").joinpath("recipe", "methods").iterdir()
    return sorted(Path(file.name).stem for file in files if file.name.endswith(".toml"))


def method_tables(method: str, family: str, variant: str) -> Tables:
    """Return a method's numbers for a family, with the variant's preset expanded into plain keys.

    A plugin ("module:Class") gets the defaults of its Options, and CML's steps, batch and schedule.
    Raises UserError for an unknown method, or one without numbers for the family.
    """
    if plugins.SEPARATOR in method:
        cml = _read("methods/cml.toml").get(family, {})
        steps = plugins.steps(
            method, {key: cml["method"][key] for key in STEP_KEYS if key in cml.get("method", {})}
        )
        return {
            "method": {"name": method, "variant": variant, **steps},
            "training": cml.get("training", {}),
        }
    if method not in shipped_methods():
        raise UserError(
            Problem(
                f"there is no method '{method}'",
                "[method] name",
                fix=plugins.nearest_method(method, shipped_methods()),
            )
        )
    numbers = _read(f"methods/{method}.toml").get(family)
    if numbers is None:
        raise UserError(
            Problem(
                f"method '{method}' has no numbers for '{family}'",
                where="[method] name",
                fix="write them into a recipe file",
            )
        )
    preset = numbers.pop("released", {})
    tables = {
        table: numbers.get(table, {})
        for table in ("method", "training", "network", "inference")
        if table in numbers
    }
    if variant == "released":
        tables = merged(tables, preset)
    return merged({"method": {"name": method, "variant": variant}}, tables)


def parse_set(text: str) -> tuple[str, str, Any]:
    """Split a ``--set`` argument "table.key=value" into (table, key, value).

    The value is read as TOML; if that fails, it is text. Raises UserError.
    """
    path, equals, value = text.partition("=")
    table, dot, key = path.strip().partition(".")
    if not (equals and dot and key):
        raise UserError(
            Problem(f"cannot read --set '{text}'", expected="TABLE.KEY=VALUE, e.g. training.seed=1")
        )
    if table not in TABLES:
        raise UserError(
            Problem(f"unknown table '{table}'", where=f"--set {text}", fix=nearest(table, TABLES))
        )
    try:
        return table, key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return table, key, value.strip()


def load(recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Tables:
    """Return the raw tables of a recipe, with ``--set`` texts applied.

    ``method.name`` and ``method.variant`` are applied first, wherever they stand. They replace the
    whole [method] table and the keys of OWNED_BY_METHOD with that method's numbers for the setting.

    Args:
        recipe: A shipped setting, a TOML file, a run folder, or the tables as a mapping.
        overrides: Texts "table.key=value".

    Raises:
        UserError: If there is no such recipe, or it or a text cannot be read.
    """
    shipped, own = layers(recipe, overrides)
    return merged(shipped, own)


def layers(
    recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> tuple[Tables, Tables]:
    """Return the two layers of :func:`load`: the shipped tables, and the user's with ``--set``."""
    own = (
        _checked(dict(recipe), "the recipe") if isinstance(recipe, Mapping) else _own_tables(recipe)
    )
    family, below = setting_tables(own["setting"]) if own.get("setting") else ("", {})
    sets = [parse_set(text) for text in overrides]
    first = {
        key: value for table, key, value in sets if table == "method" and key in ("name", "variant")
    }
    chosen = merged(below.get("method", {}), own.get("method", {}))
    name, variant = (
        str(first.get(key, chosen.get(key, default)))
        for key, default in (("name", "cml"), ("variant", "corrected"))
    )
    own = _without_method(own) if first else deepcopy(own)
    numbers = (
        method_tables(name, family, variant)
        if family
        else {"method": {"name": name, "variant": variant}}
    )
    for table, key, value in sets:
        if (table, key) not in (("method", "name"), ("method", "variant")):
            own.setdefault(table, {})[key] = value
    return merged(below, numbers), own


def with_total_steps(tables: Mapping[str, Any], total: int) -> Tables:
    """Return the tables with the stages' steps scaled in proportion, so that they sum to ``total``.

    A stage of 0 steps keeps 0; any other gets at least one. Raises UserError if the method has no
    such keys, or ``total`` is smaller than the number of stages.
    """
    method = tables.get("method", {})
    steps = {key: int(method[key]) for key in STEP_KEYS if method.get(key)}
    if not steps or total < len(steps):
        found = f"{total} steps for {len(steps)} stages"
        fix = plugins.how_to_load(str(method.get("name")))
        raise UserError(
            Problem(
                "cannot divide the steps among the stages",
                "[method]",
                found,
                f"{', '.join(STEP_KEYS)} above 0",
                fix,
            )
        )
    shares, left, of = {}, total, sum(steps.values())
    for later, (key, share) in zip(reversed(range(len(steps))), steps.items(), strict=True):
        shares[key] = min(max(1, round(left * share / of)), left - later)
        left, of = left - shares[key], of - share
    return merged(tables, {"method": shares})


def _without_method(own: Tables) -> Tables:
    kept = {key: value for key, value in own.items() if key != "method"}
    if "training" in kept:
        kept["training"] = {
            key: value for key, value in kept["training"].items() if key not in OWNED_BY_METHOD
        }
    return kept


def _own_tables(recipe: str | Path) -> Tables:
    """Return {"setting": name} for a shipped setting, else the tables of a file or run folder."""
    path = Path(recipe)
    if str(recipe) not in shipped_settings() and (path / "recipe.toml").is_file():
        return current(read_tables(path / "recipe.toml"))
    if path.suffix != ".toml":
        setting_tables(str(recipe))
        return {"setting": str(recipe)}
    return read_tables(path)


def read_tables(path: Path) -> Tables:
    """Return the tables of a TOML file. Raise UserError if it is missing or is not a recipe."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fix = (
            "create one to edit: crossview recipe la-8 > my.toml; "
            "for your own scans: crossview recipe folder --data DATA > my.toml"
        )
        raise UserError(
            Problem("the recipe file does not exist", where=str(path), fix=fix)
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(Problem("not a TOML file", where=str(path), found=str(error))) from None
    except OSError as error:
        raise UserError(
            Problem(
                "cannot read the recipe file", where=str(path), found=error.strerror or str(error)
            )
        ) from None
    return _checked(tables, str(path))


def _checked(tables: Tables, where: str) -> Tables:
    """Return ``tables``. Raise UserError if they are not the tables of a recipe."""
    unknown = [key for key in tables if key not in (*TABLES, "setting")]
    problems = [
        Problem(f"unknown table '{key}'", where=where, fix=nearest(key, (*TABLES, "setting")))
        for key in unknown
    ]
    problems += [
        Problem(f"'{key}' is not a table", where=where)
        for key in TABLES
        if not isinstance(tables.get(key, {}), Mapping)
    ]
    if not isinstance(tables.get("setting", ""), str):
        problems.append(
            Problem(
                "'setting' is not a name",
                where,
                repr(tables["setting"]),
                "a name from crossview list recipes",
            )
        )
    raise_all(problems)
    return tables


def differences(stored: Mapping[str, Any], new: Mapping[str, Any]) -> list[Problem]:
    """Return a problem per key in which ``new`` must not differ from the recipe of a resumed run.

    A key that ``stored`` lacks is no difference: it did not exist when the run was made.
    """
    problems = []
    for table in TABLES:
        for key, value in new[table].items():
            old = stored.get(table, {}).get(key, value)
            free = table == "training" and (
                key in CHANGEABLE_ON_RESUME or (key in MEASURED and value == "auto")
            )
            if value != old and not free:
                fix = "restore the value, or choose another --out"
                problems.append(
                    Problem(
                        f"'{key}' differs from the resumed run",
                        f"[{table}] {key}",
                        repr(value),
                        repr(old),
                        fix,
                    )
                )
    return problems
