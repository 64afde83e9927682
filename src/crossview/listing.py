"""What there is, by name, with a line that says what each is: read from the files themselves, so nothing heavy is imported."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from importlib import resources

from crossview.errors import Problem, UserError, nearest
from crossview.recipe import setting_tables, shipped_methods, shipped_settings
from crossview.suite import load_suite, shipped_suites


def _first_line(package: str, name: str) -> str:
    """The first line of a module's docstring."""
    text = resources.files(package).joinpath(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def methods() -> dict[str, str]:
    """Shipped methods."""
    return {name: _first_line("crossview.methods", name) for name in shipped_methods()}


def sources() -> dict[str, str]:
    """Sources of cases."""
    from crossview.data import sources

    return {name: _first_line("crossview.data.sources", name) for name in sorted(sources.names())}


def recipes() -> dict[str, str]:
    """Shipped settings: what is labelled in each, and its network."""
    found = {}
    for name in shipped_settings():
        data, network = (setting_tables(name)[1][table] for table in ("data", "network"))
        labelled = (
            f"{data['labelled']} labelled" if data.get("labelled") else "all that have labels"
        )
        found[name] = (
            f"source {data['source']}, {labelled}, {network.get('name', 'network by the plan')}"
        )
    return found


def networks() -> dict[str, str]:
    """Networks: what a recipe's [network] name may be."""
    return {name: _first_line("crossview.networks", name) for name in ("unet", "vnet")}


def suites() -> dict[str, str]:
    """Shipped suites of the verb bench."""
    return {name: load_suite(name).about for name in shipped_suites()}


LISTINGS: Mapping[str, Callable[[], dict[str, str]]] = {
    "methods": methods,
    "recipes": recipes,
    "sources": sources,
    "networks": networks,
    "suites": suites,
}
"""What ``crossview list`` can list."""


def listed(what: str, as_json: bool = False) -> str:
    """A list as text, a line a name; or its names as JSON. Raises UserError for a list that there is not."""
    if what not in LISTINGS:
        raise UserError(Problem(f"there is no list of '{what}'", fix=nearest(what, LISTINGS)))
    found = LISTINGS[what]()
    if as_json:
        return json.dumps(list(found))
    width = max(map(len, found))
    return "\n".join(f"{name:<{width}}  {about}" for name, about in found.items())
