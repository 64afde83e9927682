"""Suites: methods x settings x seeds under one protocol, in a TOML file.

:mod:`crossview.runner` runs them. Each run is ``crossview train RECIPE`` with ``--set`` texts, of
which later ones win: the suite's ``common``, the setting's ``set``, the row's ``set``, the seed,
and under protocol "equal" the steps of the method's stages, scaled to the suite's ``total_steps``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from crossview.core.errors import Problem, UserError, nearest, raise_all
from crossview.recipe.layers import parse_set
from crossview.recipe.resolve import parse

Label = Annotated[
    str, Field(min_length=1, max_length=60, pattern=r"^[^,\n\r\t]*[A-Za-z0-9][^,\n\r\t]*$")
]
"""A name in a table and of a folder. No comma, so that a CSV file needs no quotes."""


PLACES = ("settings", "methods")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(_Part):
    """One [[settings]]: a recipe, changed by ``set``, with its name in the table."""

    name: Label = Field(description="label in the table, and the folder of its runs")
    recipe: str = Field(description="a shipped setting, or a TOML file in the suite's folder")
    set: tuple[str, ...] = Field((), description="changes to the recipe, as --set texts")


class Entry(_Part):
    """One [[methods]]: a row of the table."""

    label: Label = Field(description="label in the table")
    name: str = Field(description="a method from crossview list methods")
    set: tuple[str, ...] = Field(
        (),
        description="changes for this row, as --set texts; the table lists them",
    )
    settings: tuple[str, ...] = Field((), description="the settings it belongs to; default: all")
    reference: bool = Field(
        False,
        description="a reference that gets more than the other rows, such as all labels; "
        "shown next to them, not compared",
    )


class Suite(_Part):
    """A whole suite."""

    name: Label = Field(description="the suite's name")
    about: str = Field(description="a sentence that describes the suite")
    protocol: Literal["equal", "published"] = Field(
        description="equal: the same steps, batch, schedule and network for all; "
        "published: each method's own"
    )
    baseline: Label = Field(description="the row that the others are compared with")
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field(
        min_length=1, description="training seeds"
    )
    total_steps: int | None = Field(
        None, ge=2, description="steps of every run, under protocol equal"
    )
    common: tuple[str, ...] = Field((), description="changes for all runs, as --set texts")
    settings: tuple[Setting, ...] = Field(min_length=1, description="the settings")
    methods: tuple[Entry, ...] = Field(min_length=1, description="the rows")


def shipped_suites() -> list[str]:
    """Return the names of the shipped suites."""
    files = resources.files("crossview").joinpath("runs", "bench", "suites").iterdir()
    return sorted(Path(file.name).stem for file in files if file.name.endswith(".toml"))


def load_suite(suite: str | Path) -> Suite:
    """Return a shipped suite, or one from a TOML file. Raise UserError with every problem found."""
    path = Path(suite)
    if path.suffix != ".toml":
        if str(suite) not in shipped_suites():
            fix = nearest(str(suite), shipped_suites())
            raise UserError(
                Problem(
                    f"unknown suite '{suite}'",
                    expected="a shipped suite or a TOML file",
                    fix=fix,
                )
            )
        text = (
            resources.files("crossview")
            .joinpath("runs", "bench", "suites", f"{suite}.toml")
            .read_text(encoding="utf-8")
        )
        return parse_suite(tomllib.loads(text))
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            Problem("cannot read the suite", str(path), error.strerror or str(error))
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(Problem("not a TOML file", str(path), str(error))) from None
    return parse_suite(tables, path.parent)


def parse_suite(tables: Mapping[str, Any], beside: Path = Path()) -> Suite:
    """Return the typed suite. Raise UserError with every problem found.

    beside: the folder that recipe files are relative to.
    """
    problems: list[Problem] = []

    def parts(place: str, model: type[_Part]) -> list[Any]:
        found = []
        items = tables.get(place, [])
        if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
            problems.append(Problem(f"'{place}' is not a list of tables", expected=f"[[{place}]]"))
            return []
        for number, item in enumerate(items, start=1):
            try:
                found.append(parse(model, item, f"{place} {number}"))
            except UserError as error:
                problems.extend(error.problems)
        return found

    settings = [_with_file(setting, beside) for setting in parts("settings", Setting)]
    rows = parts("methods", Entry)
    if not problems:
        try:
            suite = parse(Suite, {**tables, "settings": settings, "methods": rows}, "suite")
        except UserError as error:
            problems.extend(error.problems)
        else:
            raise_all(_conflicts(suite))
            return suite
    elif unknown := [key for key in tables if key not in Suite.model_fields]:
        problems += [
            Problem(f"unknown key '{key}'", "[suite]", fix=nearest(key, Suite.model_fields))
            for key in unknown
        ]
    raise UserError(problems)


def slug(label: str) -> str:
    """Return a label as a folder name: "cml labelled only" -> "cml-labelled-only"."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", label).strip("-.")


def _with_file(setting: Setting, beside: Path) -> Setting:
    file = setting.recipe.endswith(".toml")
    return setting.model_copy(update={"recipe": str(beside / setting.recipe)}) if file else setting


def _conflicts(suite: Suite) -> list[Problem]:
    """Return the problems between the keys of a suite."""
    settings, labels = (
        [setting.name for setting in suite.settings],
        [row.label for row in suite.methods],
    )
    problems = [*_twice(settings, "[[settings]] name"), *_twice(labels, "[[methods]] label")]
    if len(set(suite.seeds)) < len(suite.seeds):
        problems.append(
            Problem("a seed appears more than once", "[suite] seeds", str(list(suite.seeds)))
        )
    if suite.baseline not in labels:
        problems.append(
            Problem(
                f"no row has the label of the baseline, '{suite.baseline}'",
                "[suite] baseline",
                fix=nearest(suite.baseline, labels),
            )
        )
    if (suite.total_steps is None) == (suite.protocol == "equal"):
        expected = (
            "a number under protocol = 'equal'; none under 'published', "
            "where each method keeps its own steps"
        )
        problems.append(
            Problem(
                "'total_steps' does not fit the protocol",
                "[suite] total_steps",
                str(suite.total_steps),
                expected,
            )
        )
    for row in suite.methods:
        unknown = [name for name in row.settings if name not in settings]
        problems += [
            Problem(f"unknown setting '{name}'", f"row '{row.label}'", fix=nearest(name, settings))
            for name in unknown
        ]
    texts = [
        ("common", suite.common),
        *((f"setting '{part.name}'", part.set) for part in suite.settings),
    ]
    for where, sets in [*texts, *((f"row '{row.label}'", row.set) for row in suite.methods)]:
        problems += [problem for text in sets for problem in _unusable(text, where)]
    return problems


def _twice(labels: Sequence[str], where: str) -> list[Problem]:
    """Return a problem if labels name the same folder, even if they differ in punctuation."""
    slugs = [slug(label).lower() for label in labels]
    twice = [
        label
        for label, name in zip(labels, slugs, strict=True)
        if not name or slugs.count(name) > 1
    ]
    return (
        [Problem("labels name the same folder, or none", where, ", ".join(twice))] if twice else []
    )


def _unusable(text: str, where: str) -> list[Problem]:
    """Return the problem of a --set text that cannot be read or sets a key of the suite."""
    try:
        table, key, _ = parse_set(text)
    except UserError as error:
        return list(error.problems)
    own = {("method", "name"): "the row's 'name'", ("training", "seed"): "the suite's 'seeds'"}.get(
        (table, key)
    )
    return (
        [Problem(f"'{table}.{key}' cannot be set here", where, text, fix=f"use {own}")]
        if own
        else []
    )
