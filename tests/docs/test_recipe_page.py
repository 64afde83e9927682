"""Tests that the pages of docs/reference/recipe list the keys of the code.

``python tests/docs/test_recipe_page.py`` rewrites their tables.
"""

import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

PAGES = sorted((Path(__file__).parents[2] / "docs" / "reference" / "recipe").glob("*.md"))
SECTION = re.compile(
    r"(?P<begin><!-- keys: (?P<name>[\w ]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)


def models() -> dict[str, type[BaseModel]]:
    """Return the models of all tables, by the name of their section."""
    from crossview.data import sources
    from crossview.inference.options import InferenceOptions
    from crossview.methods import METHODS
    from crossview.methods.method import MethodOptions
    from crossview.networks import NETWORKS
    from crossview.training.options import TrainingOptions

    return {
        "data": sources.DataOptions,
        **{f"data {name}": sources.find(name).Options for name in sources.names()},
        **{f"network {name}": network.Options for name, network in NETWORKS.items()},
        "method": MethodOptions,
        **{f"method {name}": method.Options for name, method in METHODS.items()},
        "training": TrainingOptions,
        "inference": InferenceOptions,
    }


def type_name(annotation: Any) -> str:
    """Return a type in words, "numbers" for tuple[float, ...]."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{toml_value(choice)}`".replace('"', "") for choice in arguments)
    if origin is Annotated:
        return type_name(arguments[0])
    if origin is tuple and len({*arguments, ...}) > 2:
        return ", ".join(map(type_name, arguments))
    if origin is tuple:
        some = "" if arguments[-1] is ... else f"{len(arguments)} "
        items = type_name(arguments[0])
        return f"lists of {items}" if get_origin(arguments[0]) is tuple else f"{some}{items}s"
    if origin in (Union, UnionType):
        return " or ".join(map(type_name, arguments))
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}[annotation]


def toml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    return str(round(value, 4)) if isinstance(value, float) else str(value)


def own_keys(model: type[BaseModel]) -> list[str]:
    """Return the keys that a model adds or changes, those of a shared base first."""
    from crossview.data.sources.source import DataOptions
    from crossview.methods.method import MethodOptions

    general = {BaseModel, object, DataOptions, MethodOptions} - {model}
    return list(
        dict.fromkeys(
            name
            for kind in reversed(model.__mro__)
            if kind not in general
            for name in vars(kind).get("__annotations__", ())
        )
    )


def table(model: type[BaseModel]) -> str:
    """Return a Markdown table of a model's own keys."""
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name in own_keys(model):
        field = model.model_fields.get(name)
        if field is None or (name in ("source", "name") and not field.is_required()):
            continue  # a class constant, or the name that the section is headed with
        default = "" if field.is_required() else f"`{toml_value(field.default)}`"
        meaning = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{name}` | {type_name(field.annotation)} | {default} | {meaning} |")
    return "\n".join(rows) + "\n"


def page_with_tables(text: str) -> str:
    known = models()
    return SECTION.sub(
        lambda match: match["begin"] + table(known[match["name"]]) + match["end"], text
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_lists_the_keys_of_the_code(page):
    text = page.read_text(encoding="utf-8")
    assert text == page_with_tables(text), (
        "rewrite the tables: python tests/docs/test_recipe_page.py"
    )


def test_every_table_of_a_recipe_is_on_one_page():
    named = [
        match["name"]
        for page in PAGES
        for match in SECTION.finditer(page.read_text(encoding="utf-8"))
    ]
    assert sorted(named) == sorted(models())


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(page_with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
