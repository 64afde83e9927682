"""Methods by name; each has a file of its own."""

from __future__ import annotations

from crossview.errors import Problem, UserError
from crossview.methods.bcp import BCP
from crossview.methods.cml import CML
from crossview.methods.cps import CPS
from crossview.methods.mean_teacher import MeanTeacher
from crossview.methods.method import Method, Stage, Terms
from crossview.methods.ss_net import SSNet
from crossview.methods.supervised import Supervised
from crossview.methods.ua_mt import UAMT
from crossview.methods.urpc import URPC
from crossview.plugins import how_to_load, nearest_method

METHODS: dict[str, type[Method]] = {
    "cml": CML,
    "supervised": Supervised,
    "mean_teacher": MeanTeacher,
    "ua_mt": UAMT,
    "cps": CPS,
    "bcp": BCP,
    "urpc": URPC,
    "ss_net": SSNet,
}

__all__ = ["CML", "METHODS", "Method", "Stage", "Supervised", "Terms", "find"]


def find(name: str) -> type[Method]:
    """Return the method with this name, shipped or loaded as a plugin.

    Raises:
        UserError: If there is none; with the nearest known names, or the option that loads it.
    """
    if name in METHODS:
        return METHODS[name]
    if fix := how_to_load(name):
        raise UserError(
            Problem(f"the method '{name}' is a plugin that is not loaded", "[method] name", fix=fix)
        )
    raise UserError(
        Problem(
            f"there is no method '{name}'", where="[method] name", fix=nearest_method(name, METHODS)
        )
    )
