"""Plugins, "module:Class", as recipes, run folders and printed commands see them.

:mod:`crossview.methods.plugin` loads them. Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crossview.core.errors import nearest

SEPARATOR = ":"


@dataclass(frozen=True)
class Loaded:
    """A plugin whose code was imported: its class, and the SHA-256 of the file that defines it."""

    method: Any
    digest: str = ""


LOADED: dict[str, Loaded] = {}
"""Plugins loaded in this process, by name."""


def steps(name: str, cml: Mapping[str, int]) -> dict[str, int]:
    """Return CML's steps for a plugin.

    They are given per stage if the plugin has keys of those names, else as their sum if it has
    ``steps``.
    """
    keys = LOADED[name].method.Options.model_fields if name in LOADED else ()
    own = {key: number for key, number in cml.items() if key in keys}
    return own or ({"steps": sum(cml.values())} if cml and "steps" in keys else {})


def nearest_method(word: str, known: Iterable[str]) -> str:
    """Return a hint for a misspelt method.

    It names the loaded plugin with this module or class, else what :func:`nearest` finds.
    """
    named = [name for name in LOADED if word in name.split(SEPARATOR)]
    return f"did you mean {' or '.join(named)}?" if named else nearest(word, {*known, *LOADED})


def how_to_load(name: str) -> str:
    """Return the fix if a method is a plugin that is not loaded, else ""."""
    return (
        f"add --plugin {name} to load its code" if SEPARATOR in name and name not in LOADED else ""
    )


def remembered(name: str) -> dict[str, dict[str, str]]:
    """Return the entry of environment.json for a plugin: its name and digest."""
    return {"plugin": {"name": name, "digest": LOADED[name].digest}} if name in LOADED else {}


def changed(name: str, environment: Mapping[str, Any]) -> str:
    """Return how the loaded plugin's code differs from that in a run's environment.json.

    The text is "" if they agree or one is unknown.
    """
    then, now = environment.get("plugin"), remembered(name).get("plugin")
    if (
        not isinstance(then, Mapping)
        or now is None
        or then.get("name") != name
        or not then.get("digest")
        or not now["digest"]
    ):
        return ""
    before, after = str(then["digest"]), now["digest"]
    return "" if before == after else f"SHA-256 {before[:12]} then, {after[:12]} now"


def arguments(method: str) -> list[str]:
    """Return the arguments that a run of this method needs: --plugin, or none."""
    return ["--plugin", method] if SEPARATOR in method else []
