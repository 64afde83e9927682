"""Libraries that only some files need, imported when one does."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from crossview.core.errors import Problem, UserError


def need(module: str, extra: str, instead: str = "") -> Any:
    """Return a module. UserError, see :func:`absent`, if it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise UserError([absent(module, extra, instead=instead)]) from None


def is_absent(module: str) -> bool:
    """True if a module is not installed. It is not imported."""
    return find_spec(module) is None


def absent(module: str, extra: str, where: str = "", instead: str = "") -> Problem:
    """Return the problem of files whose library is not installed.

    Args:
        module: The library.
        extra: The extra that it belongs to, "" for none.
        where: The files.
        instead: What a user can do without the library.
    """
    return Problem(
        "a library that this format needs is not installed",
        where,
        f"no module {module}",
        f"the extra crossview[{extra}]" if extra else f"the library {module}",
        (f'pip install "crossview[{extra}]"' if extra else f"pip install {module}")
        + (f"; or {instead}" if instead else ""),
    )
