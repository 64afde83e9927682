"""Suites: methods x settings x seeds under one protocol, in a TOML file.

:mod:`crossview.runs.bench.bench` runs them. Each run is a recipe with ``--set`` texts, of which
later ones win: the suite's ``common``, the setting's ``set``, the row's ``set``, the seed,
and under protocol "equal" the steps of the method's stages, scaled to the suite's ``total_steps``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from crossview.core.errors import Problem, UserError, fail, nearest, raise_all
from crossview.core.parse import from_toml
from crossview.recipe.layers import parse_set, read_toml
from crossview.recipe.resolve import parse

Label = Annotated[
    str, Field(min_length=1, max_length=60, pattern=r"^[^,\n\r\t]*[A-Za-z0-9][^,\n\r\t]*$")
]
"""A name in a table and of a folder. No comma, so that a CSV file needs no quotes."""


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
    time_of: Label | None = Field(
        None,
        description="label of a row above. This row gets as many steps as fit into that row's "
        "training time, by the recorded pace of a row above with the same name and set",
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
    folds: int | None = Field(
        None,
        ge=2,
        description="cross-validation: every run once per fold of the labelled cases, which are "
        "then the test cases; the folds are pooled in the table",
    )
    common: tuple[str, ...] = Field((), description="changes for all runs, as --set texts")
    settings: tuple[Setting, ...] = Field(min_length=1, description="the settings")
    methods: tuple[Entry, ...] = Field(min_length=1, description="the rows")

    @property
    def fold_numbers(self) -> Sequence[int]:
        """The folds from 1; only 0 without folds."""
        return (0,) if self.folds is None else range(1, self.folds + 1)

    def with_folds(self, folds: int | None) -> Suite:
        """Return the suite over a number of folds; itself for None."""
        return self if folds is None else self.model_copy(update={"folds": folds})


SHIPPED = resources.files("crossview").joinpath("runs", "bench", "suites")


def shipped_suites() -> list[str]:
    """Return the names of the shipped suites."""
    files = (Path(file.name) for file in SHIPPED.iterdir())
    return sorted(file.stem for file in files if file.suffix == ".toml")


def load_suite(suite: str | Path | Suite) -> Suite:
    """Return a suite: itself, a shipped one by its name, or one from a TOML file.

    Raise UserError with every problem found.
    """
    if isinstance(suite, Suite):
        return suite
    path = Path(suite)
    if path.suffix == ".toml":
        return parse_suite(read_toml(path, "suite"), path.parent)
    if str(suite) not in shipped_suites():
        fix = nearest(str(suite), shipped_suites())
        fail(f"unknown suite '{suite}'", expected="a shipped suite or a TOML file", fix=fix)
    text = SHIPPED.joinpath(f"{suite}.toml").read_text(encoding="utf-8")
    return parse_suite(from_toml(text))


def parse_suite(tables: Mapping[str, Any], beside: Path = Path()) -> Suite:
    """Return the typed suite. Raise UserError with every problem found.

    beside: the folder that recipe files are relative to.
    """
    problems = [
        Problem(f"unknown key '{key}'", "[suite]", fix=nearest(key, Suite.model_fields))
        for key in tables
        if key not in Suite.model_fields
    ]
    typed: dict[str, Any] = {}
    for place, model in (("settings", Setting), ("methods", Entry)):
        try:
            typed[place] = _parts(tables.get(place, []), place, model)
        except UserError as error:
            problems.extend(error.problems)
    raise_all(problems)
    typed["settings"] = [_with_file(setting, beside) for setting in typed["settings"]]
    suite = parse(Suite, {**tables, **typed}, "suite")
    raise_all(_conflicts(suite))
    return suite


def _parts(items: Any, place: str, model: type[_Part]) -> list[_Part]:
    """Return the typed tables of a list. Raise UserError with every problem found."""
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        fail(f"'{place}' is not a list of tables", expected=f"[[{place}]]")
    found: list[_Part] = []
    problems: list[Problem] = []
    for number, item in enumerate(items, start=1):
        try:
            found.append(parse(model, item, f"{place} {number}"))
        except UserError as error:
            problems += error.problems
    raise_all(problems)
    return found


def slug(label: str) -> str:
    """Return a label as a folder name: "cml labelled only" -> "cml-labelled-only"."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", label).strip("-.")


def _with_file(setting: Setting, beside: Path) -> Setting:
    file = setting.recipe.endswith(".toml")
    return setting.model_copy(update={"recipe": str(beside / setting.recipe)}) if file else setting


def _conflicts(suite: Suite) -> list[Problem]:
    """Return the problems between the keys of a suite."""
    names = [setting.name for setting in suite.settings]
    labels = [row.label for row in suite.methods]
    problems = [*_twice(names, "[[settings]] name"), *_twice(labels, "[[methods]] label")]
    if len(set(suite.seeds)) < len(suite.seeds):
        what = "a seed appears more than once"
        problems.append(Problem(what, "[suite] seeds", str(list(suite.seeds))))
    if suite.baseline not in labels:
        what = f"no row has the label of the baseline, '{suite.baseline}'"
        fix = nearest(suite.baseline, labels)
        problems.append(Problem(what, "[suite] baseline", fix=fix))
    if (suite.total_steps is None) == (suite.protocol == "equal"):
        problems.append(
            Problem(
                "'total_steps' does not fit the protocol",
                "[suite] total_steps",
                str(suite.total_steps),
                "a number under protocol = 'equal'; none under 'published', "
                "where each method keeps its own steps",
            )
        )
    problems += [
        Problem(f"unknown setting '{name}'", f"row '{row.label}'", fix=nearest(name, names))
        for row in suite.methods
        for name in row.settings
        if name not in names
    ]
    problems += [problem for row in suite.methods for problem in _wrong_time(suite, row)]
    sets = {
        "common": suite.common,
        **{f"setting '{setting.name}'": setting.set for setting in suite.settings},
        **{f"row '{row.label}'": row.set for row in suite.methods},
    }
    problems += [
        problem
        for where, texts in sets.items()
        for text in texts
        for problem in _unusable(text, where)
    ]
    return problems


def _twice(labels: Sequence[str], where: str) -> list[Problem]:
    """Return a problem if labels name the same folder, even if they differ in punctuation."""
    folders = [slug(label).lower() for label in labels]
    twice = [
        label
        for label, folder in zip(labels, folders, strict=True)
        if not folder or folders.count(folder) > 1
    ]
    what = "labels name the same folder, or none"
    return [Problem(what, where, ", ".join(twice))] if twice else []


def row_of(suite: Suite, label: str) -> Entry:
    """Return the row with this label."""
    return next(row for row in suite.methods if row.label == label)


def pace_row(suite: Suite, row: Entry) -> Entry | None:
    """Return the first row above whose pace a row with ``time_of`` has; None if there is none."""
    alike = (each for each in _above(suite, row) if (each.name, each.set) == (row.name, row.set))
    return next(alike, None)


def _above(suite: Suite, row: Entry) -> list[Entry]:
    """Return the rows above, without ``time_of``, that belong to all settings of a row."""
    every = [setting.name for setting in suite.settings]
    needed = set(row.settings or every)
    rows = suite.methods[: suite.methods.index(row)]
    return [each for each in rows if each.time_of is None and needed <= set(each.settings or every)]


def _wrong_time(suite: Suite, row: Entry) -> list[Problem]:
    """Return why the ``time_of`` of a row cannot be kept."""
    if row.time_of is None:
        return []
    where, problems = f"row '{row.label}' time_of", []
    labels = [each.label for each in _above(suite, row)]
    if row.time_of not in labels:
        what = f"there is no row '{row.time_of}' above in the same settings"
        problems.append(Problem(what, where, fix=nearest(row.time_of, labels)))
    if pace_row(suite, row) is None:
        what = "the pace of the row is unknown: no row above in the same settings is like it"
        fix = "add a row with the same name and set, without time_of, above it"
        problems.append(Problem(what, where, fix=fix))
    return problems


def _unusable(text: str, where: str) -> list[Problem]:
    """Return the problem of a --set text that cannot be read or sets a key of the suite."""
    try:
        table, key, _ = parse_set(text)
    except UserError as error:
        return list(error.problems)
    own = {
        "method.name": "the row's 'name'",
        "training.seed": "the suite's 'seeds'",
        "data.fold": "the suite's 'folds'",
    }
    name = f"{table}.{key}"
    if name not in own:
        return []
    return [Problem(f"'{name}' cannot be set here", where, text, fix=f"use {own[name]}")]
