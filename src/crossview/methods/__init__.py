"""Methods by their name; each stands in a file of its own."""

from __future__ import annotations

from crossview.errors import Problem, UserError, nearest
from crossview.methods.cml import CML
from crossview.methods.method import Method, Stage, Terms
from crossview.methods.supervised import Supervised

METHODS: dict[str, type[Method]] = {"cml": CML, "supervised": Supervised}

__all__ = ["CML", "METHODS", "Method", "Stage", "Supervised", "Terms", "find"]


def find(name: str) -> type[Method]:
    """The method of that name. Raises UserError with the nearest known names."""
    if name not in METHODS:
        raise UserError(Problem(f"there is no method '{name}'", where="[method] name", fix=nearest(name, METHODS)))
    return METHODS[name]
