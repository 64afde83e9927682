"""Methods by name; each has a file of its own."""

from __future__ import annotations

from crossview.core.errors import fail
from crossview.core.plugins import LOADED, how_to_load, nearest_method
from crossview.methods.bcp import BCP
from crossview.methods.cml import CML
from crossview.methods.cps import CPS
from crossview.methods.mean_teacher import MeanTeacher
from crossview.methods.method import Method, Stage, Terms
from crossview.methods.ss_net import SSNet
from crossview.methods.supervised import Supervised
from crossview.methods.ua_mt import UAMT
from crossview.methods.urpc import URPC

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
"""Methods that ship with crossview; :data:`crossview.core.plugins.LOADED` holds the others."""

__all__ = ["CML", "METHODS", "Method", "Stage", "Supervised", "Terms", "find"]


def find(name: str) -> type[Method]:
    """Return the method with this name, shipped or loaded as a plugin.

    Raises:
        UserError: If there is none; with the nearest known names, or the option that loads it.
    """
    if name in METHODS:
        return METHODS[name]
    if name in LOADED:
        found: type[Method] = LOADED[name].method
        return found
    where = "[method] name"
    if fix := how_to_load(name):
        fail(f"the method '{name}' is a plugin that is not loaded", where, fix=fix)
    fail(f"there is no method '{name}'", where, fix=nearest_method(name, METHODS))
