"""Libraries of the extras, imported when a file needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from crossview.core.errors import fail


def need(module: str, extra: str) -> Any:
    """Return a module of an extra. UserError that names the extra if it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        fail(
            f"{module} is not installed",
            found="an installation without this extra",
            expected=f"the extra {extra}",
            fix=f'install it: pip install "crossview[{extra}]"',
        )
