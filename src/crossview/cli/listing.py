"""Lists of methods, recipes, sources, networks and suites, with a line about each.

The lines come from the files themselves, so that no torch is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from importlib import resources

from crossview.data import sources
from crossview.recipe.layers import setting_tables, shipped_methods, shipped_settings
from crossview.runs.bench.suite import load_suite, shipped_suites


def _first_lines(package: str, names: Iterable[str]) -> dict[str, str]:
    """Return the first line of each module's docstring."""
    files = {name: resources.files(package) / f"{name}.py" for name in names}
    texts = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in files.items()}
    return {
        name: (ast.get_docstring(text) or "").partition("\n")[0] for name, text in texts.items()
    }


def _recipes() -> dict[str, str]:
    """Return the shipped settings, each with its source, labelled cases and network."""
    found = {}
    for name in shipped_settings():
        tables = setting_tables(name)[1]
        data, network = tables["data"], tables["network"]
        count = data.get("labelled")
        labelled = f"{count} labelled" if count else "all scans with labels"
        planned = network.get("name", "network planned from the data")
        found[name] = f"source {data['source']}, {labelled}, {planned}"
    return found


LISTS: Mapping[str, Callable[[], dict[str, str]]] = {
    "methods": lambda: _first_lines("crossview.methods", shipped_methods()),
    "recipes": _recipes,
    "sources": lambda: _first_lines("crossview.data.sources", sorted(sources.names())),
    "networks": lambda: _first_lines("crossview.networks", ("unet", "vnet")),
    "suites": lambda: {name: load_suite(name).about for name in shipped_suites()},
}
"""Lists of ``crossview list``, by name."""
