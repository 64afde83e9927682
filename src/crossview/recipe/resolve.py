"""From raw tables to a typed recipe: each table is typed by its owner, and what the tables ask of each other is checked.

Raw tables become typed ones, and what pydantic finds wrong with them is told as people understand it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
import torch
from pydantic import BaseModel, ValidationError
from torch import nn

from crossview import methods, networks
from crossview.core.errors import Problem, UserError, nearest, raise_all
from crossview.data import sources
from crossview.data.sources.source import DataOptions
from crossview.inference.options import InferenceOptions, windows_fit
from crossview.methods.method import Method, MethodOptions, Stage
from crossview.recipe.layers import TABLES, Tables, load
from crossview.training.options import TrainingOptions


@dataclass(frozen=True)
class Recipe:
    """A resolved recipe: nothing is left to a default."""

    setting: str
    data: DataOptions
    network: Any
    method: MethodOptions
    training: TrainingOptions
    inference: InferenceOptions

    def tables(self) -> Tables:
        """The raw tables, ready for TOML; resolving them again gives the same recipe."""
        tables: Tables = {"setting": self.setting} if self.setting else {}
        for name in TABLES:
            tables[name] = getattr(self, name).model_dump(mode="json")
        return tables

    def toml(self) -> str:
        return tomli_w.dumps(self.tables())

    def build_method(self, channels: int) -> Method:
        """The method with freshly initialised networks."""
        network_class: Any = networks.find(self.network.name)
        table = self.network.model_dump()

        def build_network(**replaced: Any) -> nn.Module:
            options = parse(network_class.Options, {**table, **replaced}, "network")
            network: nn.Module = network_class(
                options, channels=channels, classes=self.data.classes
            )
            return network

        return methods.find(self.method.name)(self.method, build_network)

    def stages(self) -> tuple[Stage, ...]:
        """The stages of training, told by a method that holds no memory."""
        with torch.device("meta"):
            return self.build_method(channels=1).stages


def resolve(recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Load and type a recipe. Raises UserError with every problem of its tables."""
    tables = load(recipe, overrides)
    problems: list[Problem] = []

    def owned(table: str, key: str, find: Any) -> Any:
        try:
            name = tables.get(table, {}).get(key)
            if name is None:
                raise UserError(
                    Problem(
                        f"key '{key}' is missing", where=f"[{table}]", fix=f"add {key} to [{table}]"
                    )
                )
            return parse(find(str(name)).Options, tables[table], table)
        except UserError as error:
            problems.extend(
                map(_owned_elsewhere, error.problems) if table == "method" else error.problems
            )

    def fixed(table: str, model: type[BaseModel]) -> Any:
        try:
            return parse(model, tables.get(table, {}), table)
        except UserError as error:
            problems.extend(error.problems)

    recipe_ = Recipe(
        setting=str(tables.get("setting", "")),
        data=owned("data", "source", sources.find),
        network=owned("network", "name", networks.find),
        method=owned("method", "name", methods.find),
        training=fixed("training", TrainingOptions),
        inference=fixed("inference", InferenceOptions),
    )
    raise_all(problems)
    raise_all(_conflicts(recipe_))
    return recipe_


def _owned_elsewhere(problem: Problem) -> Problem:
    """The problem of an unknown key of [method], with the methods that have it."""
    for key in {key for method in methods.METHODS.values() for key in method.Options.model_fields}:
        if problem.what == f"unknown key '{key}'":
            owners = [
                name
                for name, method in methods.METHODS.items()
                if key in method.Options.model_fields
            ]
            return replace(
                problem,
                fix="; ".join(
                    [
                        f"it is a key of {', '.join(owners)}",
                        *([problem.fix] if problem.fix.startswith("did you mean") else []),
                    ]
                ),
            )
    return problem


def _conflicts(recipe: Recipe) -> list[Problem]:
    """What one table asks of another."""
    problems: list[Problem] = []
    try:
        networks.check_patch(
            recipe.data.patch, recipe.network.levels, networks.find(recipe.network.name).dimensions
        )
    except UserError as error:
        problems.extend(error.problems)
    if recipe.inference.mode == "slices" and len(recipe.data.patch) != 2:
        problems.append(
            Problem(
                "slices need a 2D patch",
                where="[inference] mode",
                found=f"patch {list(recipe.data.patch)}",
            )
        )
    if recipe.inference.mode == "windows" and len(recipe.inference.stride) != len(
        recipe.data.patch
    ):
        found, expected = (
            f"{len(recipe.inference.stride)} numbers",
            f"{len(recipe.data.patch)}, one an axis of the patch",
        )
        problems.append(
            Problem(
                "the stride has another number of axes than the patch",
                "[inference] stride",
                found,
                expected,
            )
        )
    elif recipe.inference.mode == "windows" and not windows_fit(
        recipe.inference.stride, recipe.data.patch
    ):
        found, expected = (
            str(list(recipe.inference.stride)),
            f"from 1 to the patch's side: {list(recipe.data.patch)}",
        )
        problems.append(
            Problem("the windows would leave gaps", "[inference] stride", found, expected)
        )
    multiple = networks.required_multiple(recipe.network.levels)
    if min(recipe.data.patch) < 2 * multiple:
        fix = f"sides of {2 * multiple} or more, or fewer network.levels"
        problems.append(
            Problem(
                "the patch is too small for so many levels",
                "[data] patch",
                str(list(recipe.data.patch)),
                fix=fix,
            )
        )
    if recipe.inference.flips and not recipe.data.augmentation.startswith("rot90_flip"):
        found, expected = (
            f"trained with augmentation = {recipe.data.augmentation}",
            "a model that has seen mirror images: rot90_flip",
        )
        fix = "leave flips out: they harm a model trained so (measured on hippocampus MR: Dice 0.84 without, 0.21 with)"
        problems.append(
            Problem(
                "the model has never seen mirror images", "[inference] flips", found, expected, fix
            )
        )
    return problems + _batch_conflicts(recipe)


def _batch_conflicts(recipe: Recipe) -> list[Problem]:
    problems = []
    stages = recipe.stages()
    unlabelled = any(stage.unlabelled for stage in stages)
    halved = methods.find(recipe.method.name).halved(recipe.method)
    for key, needed in (("labelled_batch", True), ("unlabelled_batch", unlabelled)):
        size = getattr(recipe.training, key)
        if needed and (size < 1 or (key in halved and size % 2)):
            expected = (
                "an even number, as the method mixes one half with the other"
                if key in halved
                else "at least 1"
            )
            problems.append(
                Problem(
                    f"'{key}' does not fit the method", f"[training] {key}", str(size), expected
                )
            )
    if not stages:
        problems.append(
            Problem("the method has no steps", where="[method]", fix="give it at least one")
        )
    return problems


Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], table: Mapping[str, Any], where: str) -> Model:
    """``model(**table)``, with every problem of the table told at once. Raises UserError; ``where`` is the table's name."""
    try:
        return model(**table)
    except ValidationError as error:
        raise UserError([_problem(item, model, where) for item in error.errors()]) from None


PLAINER = {
    "tuple_type": "a list, say [32, 32, 32]",
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
}
"""What pydantic's kinds of error expected, for people."""


def _problem(item: Any, model: type[BaseModel], where: str) -> Problem:
    key, message = (
        ".".join(str(part) for part in item["loc"]),
        item["msg"].removeprefix("Value error, ").removeprefix("Input should be "),
    )
    if not key:  # of several keys together, which the message names
        return Problem(message, where=f"[{where}]")
    if item["type"] == "extra_forbidden":
        return Problem(
            f"unknown key '{key}'",
            where=f"[{where}]",
            found=f"{key} = {item['input']!r}",
            fix=nearest(key, model.model_fields),
        )
    if item["type"] == "missing":
        return Problem(f"key '{key}' is missing", where=f"[{where}]", fix=f"add {key} to [{where}]")
    bare = isinstance(item["input"], str) and item["input"].startswith("[")
    fix = (
        'put texts in a list in quotes: ["one", "two"]; for a shell all of it in single ones'
        if bare
        else ""
    )
    message = PLAINER.get(item["type"], message)
    return Problem(
        f"key '{key}' has a wrong value",
        where=f"[{where}]",
        found=repr(item["input"]),
        expected=message,
        fix=fix,
    )
