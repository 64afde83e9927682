"""Sources of cases by name, one file per layout."""

from __future__ import annotations

import importlib
from typing import cast

from crossview.data.sources.source import DataOptions, Source
from crossview.errors import Problem, UserError, nearest

__all__ = ["DataOptions", "Source", "find", "names"]

_MODULES = {
    "acdc": "crossview.data.sources.acdc",
    "brats": "crossview.data.sources.brats",
    "folder": "crossview.data.sources.folder",
    "la": "crossview.data.sources.la",
    "phantom": "crossview.data.sources.phantom",
}


def names() -> tuple[str, ...]:
    """Return the names that a recipe's ``data.source`` can have."""
    return tuple(_MODULES)


def find(name: str) -> Source:
    """Return the source of that name. UserError with the nearest names if there is none."""
    if name not in _MODULES:
        raise UserError(
            Problem("unknown source", where="data.source", found=name, fix=nearest(name, _MODULES))
        )
    return cast(Source, importlib.import_module(_MODULES[name]))
