"""Sources of cases by name, one file per layout."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import cast

from crossview.core.errors import fail, nearest
from crossview.data.case import Splits
from crossview.data.sources import divided
from crossview.data.sources.folds import of_fold
from crossview.data.sources.source import DataOptions, Source

__all__ = ["DataOptions", "Source", "find", "find_splits", "names"]


_MODULES = ("acdc", "brats", "folder", "la", "phantom")


def names() -> tuple[str, ...]:
    """Return the names that a recipe's ``data.source`` can have."""
    return _MODULES


def find(name: str) -> Source:
    """Return the source of that name. UserError with the nearest names if there is none."""
    if name not in _MODULES:
        fail("unknown source", "data.source", found=name, fix=nearest(name, _MODULES))
    return cast(Source, importlib.import_module(f"crossview.data.sources.{name}"))


def find_splits(options: DataOptions, root: Path | None) -> Splits:
    """Return a data set's cases by role, for the fold of ``options`` if any. Raise UserError."""
    splits = of_fold(find(options.source).splits(root, options), options.fold)
    return replace(splits, notes=(*splits.notes, *divided.note(splits))) if splits.raw else splits
