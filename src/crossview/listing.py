"""Lists of methods, recipes, sources, networks and suites, with one line about each.

The lines are read from the files themselves, so nothing heavy is imported.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from importlib import resources

from crossview.errors import Problem, UserError, nearest
from crossview.recipe import setting_tables, shipped_methods, shipped_settings
from crossview.suite import load_suite, shipped_suites


def _first_line(package: str, name: str) -> str:
    """Return the first line of a module's docstring."""
    text = resources.files(package).joinpath(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def methods() -> dict[str, str]:
    """Return the shipped methods."""
    return {name: _first_line("crossview.methods", name) for name in shipped_methods()}


def sources() -> dict[str, str]:
    """Return the sources of cases."""
    from crossview.data import sources

    return {name: _first_line("crossview.data.sources", name) for name in sorted(sources.names())}


def recipes() -> dict[str, str]:
    """Return the shipped settings, each with its source, labelled cases and network."""
    found = {}
    for name in shipped_settings():
        data, network = (setting_tables(name)[1][table] for table in ("data", "network"))
        labelled = (
            f"{data['labelled']} labelled" if data.get("labelled") else "all scans with labels"
        )
        found[name] = (
            f"source {data['source']}, {labelled}, "
            f"{network.get('name', 'network planned from the data')}"
        )
    return found


def networks() -> dict[str, str]:
    """Return the networks, the values of ``name`` in a recipe's [network]."""
    return {name: _first_line("crossview.networks", name) for name in ("unet", "vnet")}


def suites() -> dict[str, str]:
    """Return the shipped suites of the verb bench."""
    return {name: load_suite(name).about for name in shipped_suites()}


LISTINGS: Mapping[str, Callable[[], dict[str, str]]] = {
    "methods": methods,
    "recipes": recipes,
    "sources": sources,
    "networks": networks,
    "suites": suites,
}
"""Lists of ``crossview list``, by name."""


def listed(what: str, as_json: bool = False) -> str:
    """Return a list as text, one line per name, or its names as JSON.

    Raise UserError for an unknown list.
    """
    if what not in LISTINGS:
        raise UserError(Problem(f"there is no list of '{what}'", fix=nearest(what, LISTINGS)))
    found = LISTINGS[what]()
    if as_json:
        return json.dumps(list(found))
    width = max(map(len, found))
    return "\n".join(f"{name:<{width}}  {about}" for name, about in found.items())
