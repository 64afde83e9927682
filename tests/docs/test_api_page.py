"""Tests that docs/reference/api.md holds every public name, by the path of its definition."""

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import crossview

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"
PATHS = re.findall(r"^::: ([\w.]+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def found(path: str) -> object:
    """Return what a dotted path names: a module, or a name in one."""
    try:
        return import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(import_module(module), name)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_of_the_page_is_where_its_name_is_defined(path):
    named = found(path)
    if not isinstance(named, ModuleType):
        assert f"{named.__module__}.{named.__qualname__}" == path


def test_the_page_holds_every_public_name():
    public = [getattr(crossview, name) for name in dir(crossview) if not name.startswith("_")]
    own = [item for item in public if getattr(item, "__module__", "").startswith("crossview.")]
    assert len(own) >= 10
    shown = [found(path) for path in PATHS]
    assert [item for item in own if item not in shown] == []
