"""Typed recipes: each raw table is typed by its owner, and the tables are checked together.

Typing of raw tables, with pydantic's errors reported in plain words.
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
from crossview.inference.options import InferenceOptions
from crossview.methods.method import Method, MethodOptions, Stage
from crossview.methods.plugin import checked_stages
from crossview.recipe.layers import TABLES, Tables, load
from crossview.training.options import TrainingOptions


@dataclass(frozen=True)
class Recipe:
    """A resolved recipe: every key has a value."""

    setting: str
    data: DataOptions
    network: Any
    method: MethodOptions
    training: TrainingOptions
    inference: InferenceOptions

    def tables(self) -> Tables:
        """Return the raw tables, ready for TOML; resolving them again gives the same recipe."""
        tables: Tables = {"setting": self.setting} if self.setting else {}
        for name in TABLES:
            tables[name] = getattr(self, name).model_dump(mode="json")
        return tables

    def toml(self) -> str:
        return tomli_w.dumps(self.tables())

    def build_method(self, channels: int) -> Method:
        """Return the method with freshly initialised networks."""
        network_class: Any = networks.find(self.network.name)
        table = self.network.model_dump()

        def build_network(scales: int = 0, **replaced: Any) -> nn.Module:
            options = parse(network_class.Options, {**table, **replaced}, "network")
            network: nn.Module = network_class(
                options, channels=channels, classes=self.data.classes, scales=scales
            )
            return network

        return methods.find(self.method.name)(self.method, build_network)

    def stages(self) -> tuple[Stage, ...]:
        """Return the stages of training, read from a method that holds no memory."""
        with torch.device("meta"):
            return checked_stages(self.build_method(channels=1))


def resolve(recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Load and type a recipe. Raise UserError with every problem in its tables."""
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
    """Return the problem; if it is an unknown key of [method], name the methods that have it."""
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
    """Return the problems between tables."""
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
                "inference by slices needs a 2D patch",
                where="[inference] mode",
                found=f"patch {list(recipe.data.patch)}",
            )
        )
    if recipe.inference.mode == "windows" and len(recipe.inference.stride) != len(
        recipe.data.patch
    ):
        found, expected = (
            f"{len(recipe.inference.stride)} numbers",
            f"{len(recipe.data.patch)}, one per axis of the patch",
        )
        problems.append(
            Problem(
                "the stride and the patch differ in their number of axes",
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
            f"from 1 to the side of the patch: {list(recipe.data.patch)}",
        )
        problems.append(
            Problem("windows with this stride leave gaps", "[inference] stride", found, expected)
        )
    multiple = networks.required_multiple(recipe.network.levels)
    if min(recipe.data.patch) < 2 * multiple:
        fix = f"choose sides of {2 * multiple} or more, or lower network.levels"
        problems.append(
            Problem(
                "the patch is too small for the number of levels",
                "[data] patch",
                str(list(recipe.data.patch)),
                fix=fix,
            )
        )
    if recipe.inference.flips and not recipe.data.augmentation.startswith("rot90_flip"):
        found, expected = (
            f"trained with augmentation = {recipe.data.augmentation}",
            "augmentation rot90_flip, which shows mirror images in training",
        )
        fix = (
            "set inference.flips=false: flips harm this model "
            "(measured on hippocampus MR: Dice 0.84 without, 0.21 with)"
        )
        problems.append(
            Problem("the model never sees mirror images", "[inference] flips", found, expected, fix)
        )
    return problems + _batch_conflicts(recipe)


def windows_fit(stride: Sequence[int], patch: Sequence[int]) -> bool:
    """True if windows of ``patch`` voxels every ``stride`` voxels advance and leave no gaps."""
    return all(1 <= step <= side for step, side in zip(stride, patch, strict=True))


def _batch_conflicts(recipe: Recipe) -> list[Problem]:
    problems = []
    stages = recipe.stages()
    unlabelled = any(stage.unlabelled for stage in stages)
    halved = methods.find(recipe.method.name).halved(recipe.method)
    for key, needed in (("labelled_batch", True), ("unlabelled_batch", unlabelled)):
        size = getattr(recipe.training, key)
        if needed and (size < 1 or (key in halved and size % 2)):
            expected = (
                "an even number: the method mixes the two halves of the batch"
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
            Problem("the method has no steps", where="[method]", fix="set at least one step")
        )
    return problems


Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], table: Mapping[str, Any], where: str) -> Model:
    """Return ``model(**table)``. Raise one UserError with every problem of the table ``where``."""
    try:
        return model(**table)
    except ValidationError as error:
        raise UserError([_problem(item, model, where) for item in error.errors()]) from None


PLAINER = {
    "tuple_type": "a list, e.g. [32, 32, 32]",
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
}
"""Expected values in plain words, by pydantic's kind of error."""


def _problem(item: Any, model: type[BaseModel], where: str) -> Problem:
    key, message = (
        ".".join(str(part) for part in item["loc"]),
        item["msg"].removeprefix("Value error, ").removeprefix("Input should be "),
    )
    if not key:  # the message names the keys that do not fit together
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
        'put each text in quotes: ["one", "two"]; in a shell, put the whole list in single quotes'
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
