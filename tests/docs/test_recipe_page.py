"""docs/reference/recipe.md lists the keys the code has. ``python tests/docs/test_recipe_page.py`` writes its tables anew."""

import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "recipe.md"
SECTION = re.compile(
    r"(?P<begin><!-- keys: (?P<name>[\w ]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)


def models() -> dict[str, type[BaseModel]]:
    """The models of all tables, by the name their section has on the page."""
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
    """A type in the words of a recipe's writer: "numbers" for tuple[float, ...]."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin is Annotated:
        return type_name(arguments[0])
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
    """The keys that a model adds to those of every method or source, or changes; those of a base that several methods share come first."""
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
    """A Markdown table of a model's own keys, from the model itself."""
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


def test_the_page_lists_the_keys_that_the_code_has():
    text = PAGE.read_text(encoding="utf-8")
    assert text == page_with_tables(text), (
        "write the tables anew: python tests/docs/test_recipe_page.py"
    )


def test_every_table_of_a_recipe_is_on_the_page():
    named = {match["name"] for match in SECTION.finditer(PAGE.read_text(encoding="utf-8"))}
    assert named == set(models())


if __name__ == "__main__":
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
