"""Libraries of the extras, imported when a file needs them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from crossview.core.errors import Problem, UserError


def need(module: str, extra: str) -> Any:
    """Return a module of an extra. UserError that names the extra if it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise UserError([absent(module, extra)]) from None


def is_absent(module: str) -> bool:
    """True if a module is not installed. It is not imported."""
    return find_spec(module) is None


def absent(module: str, extra: str, where: str = "") -> Problem:
    """Return the problem of a format whose library is not installed."""
    return Problem(
        "a library that this format needs is not installed",
        where,
        f"no module {module}",
        f"the extra crossview[{extra}]",
        f'pip install "crossview[{extra}]"',
    )
