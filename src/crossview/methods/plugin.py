"""A user's own method, "module:Class": its code is imported because the command line says so, never because a recipe does."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from crossview.errors import Problem, UserError, nearest
from crossview.methods import METHODS
from crossview.methods.method import Method
from crossview.plugins import LOADED, SEPARATOR, Loaded

NEEDED = ("stages", "loss", "views")
"""What a method has to write for itself."""


def load(plugin: str) -> type[Method]:
    """Import "module:Class", from the current folder too, and let recipes name it as their method. Raises UserError."""
    module_name, separator, class_name = plugin.partition(SEPARATOR)
    if not (separator and class_name.isidentifier() and all(part.isidentifier() for part in module_name.split("."))):
        fix = "for class MyMethod in my_method.py: --plugin my_method:MyMethod"
        raise UserError(Problem("not the name of a plugin", "--plugin", plugin, "module:Class", fix))
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        fix = f"run crossview in the folder of {module_name.split('.')[0]}.py, or install the package it is in"
        raise UserError(Problem(f"there is no module '{error.name}'", f"--plugin {plugin}", fix=fix)) from None
    found = getattr(module, class_name, None)
    if found is None:
        raise UserError(Problem(f"'{module_name}' has no '{class_name}'", f"--plugin {plugin}", fix=nearest(class_name, vars(module))))
    if not (isinstance(found, type) and issubclass(found, Method)):
        fix = "derive it from crossview.methods.Method (docs/how-to/add-a-method.md)"
        raise UserError(Problem(f"'{class_name}' is no method", f"--plugin {plugin}", type(found).__name__, "a class of methods", fix))
    missing = [name for name in NEEDED if getattr(found, name) is getattr(Method, name)]
    if missing:
        fix = "write what is missing (docs/how-to/add-a-method.md)"
        raise UserError(
            Problem(f"'{class_name}' is no whole method", f"--plugin {plugin}", f"no {', no '.join(missing)}", ", ".join(NEEDED), fix)
        )
    METHODS[plugin] = found
    LOADED[plugin] = Loaded(frozenset(found.Options.model_fields))
    return found
