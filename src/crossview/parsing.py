"""Typing of raw tables, with pydantic's errors reported in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from crossview.errors import Problem, UserError, nearest

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
