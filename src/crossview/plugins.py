"""Methods of one's own, "module:Class": what recipes, run folders and printed commands know of them. Nothing heavy is imported here.

:mod:`crossview.methods.plugin` loads them.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossview.errors import nearest

SEPARATOR = ":"


@dataclass(frozen=True)
class Loaded:
    """A plugin whose code was imported. keys: of its Options. digest: SHA-256 of the file that defines its class, "" where it has none."""

    keys: frozenset[str]
    digest: str = ""


LOADED: dict[str, Loaded] = {}
"""Those of this process, by name."""


def steps(name: str, cml: Mapping[str, int]) -> dict[str, int]:
    """CML's steps for a plugin: stage by stage where it has keys of those names, else their sum where it has ``steps``."""
    keys = LOADED[name].keys if name in LOADED else frozenset()
    own = {key: number for key, number in cml.items() if key in keys}
    return own or ({"steps": sum(cml.values())} if cml and "steps" in keys else {})


def nearest_method(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt method: a loaded plugin whose module or class is named, else as of :func:`nearest`."""
    named = [name for name in LOADED if word in name.split(SEPARATOR)]
    return f"did you mean {' or '.join(named)}?" if named else nearest(word, {*known, *LOADED})


def how_to_load(name: str) -> str:
    """What to do where a method is a plugin that is not loaded; nothing where it is none, or is loaded."""
    return (
        f"give --plugin {name}: its code is yours"
        if SEPARATOR in name and name not in LOADED
        else ""
    )


def remembered(name: str) -> dict[str, dict[str, str]]:
    """What environment.json shall keep of a method's code: of a plugin its name and digest."""
    return {"plugin": {"name": name, "digest": LOADED[name].digest}} if name in LOADED else {}


def changed(name: str, environment: Mapping[str, Any]) -> str:
    """In what the loaded plugin's code differs from that of a run with this environment.json; "" where it does not, or none is known."""
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


def command(verb: str, run: Path, *more: str) -> str:
    """A command on a run folder as it is printed: with --plugin where the run's recipe names one."""
    return shlex.join(["crossview", verb, str(run), *more, *arguments(_method(run))])


def arguments(method: str) -> list[str]:
    """What a command needs for a run of this method: --plugin, or nothing."""
    return ["--plugin", method] if SEPARATOR in method else []


def _method(run: Path) -> str:
    """The method that a run's recipe names; "" where there is none to be read: a hint is no place for an error."""
    try:
        return str(
            tomllib.loads((run / "recipe.toml").read_text(encoding="utf-8"))["method"]["name"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ""
