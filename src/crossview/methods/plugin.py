"""Plugin methods, "module:Class": imported on request of the command line, never of a recipe."""

from __future__ import annotations

import importlib
import sys
from hashlib import sha256
from inspect import getattr_static, getfile
from pathlib import Path
from types import FunctionType

from crossview.errors import Problem, UserError, nearest
from crossview.methods import METHODS
from crossview.methods.checked import PAGE, STAGES, checked, wrong
from crossview.methods.method import Method, MethodOptions
from crossview.plugins import LOADED, SEPARATOR, Loaded

NEEDED = ("stages", "loss", "views")
"""Members that every method must define."""


def load(plugin: str) -> type[Method]:
    """Import a plugin, also from the current folder, and make it available to recipes.

    Args:
        plugin: "module:Class", the name under which recipes use it.

    Returns:
        The class, with checked return values.

    Raises:
        UserError: If it cannot be found, or breaks the contract of :class:`Method`.
    """
    module_name, separator, class_name = plugin.partition(SEPARATOR)
    if not (
        separator
        and class_name.isidentifier()
        and all(part.isidentifier() for part in module_name.split("."))
    ):
        fix = "write --plugin my_method:MyMethod for class MyMethod in my_method.py"
        raise UserError(
            Problem("this is not the name of a plugin", "--plugin", plugin, "module:Class", fix)
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        fix = (
            f"run crossview in the folder of {module_name.split('.')[0]}.py, or install its package"
        )
        raise UserError(
            Problem(f"no module is named '{error.name}'", f"--plugin {plugin}", fix=fix)
        ) from None
    found = getattr(module, class_name, None)
    if found is None:
        raise UserError(
            Problem(
                f"the module '{module_name}' has no class '{class_name}'",
                f"--plugin {plugin}",
                fix=nearest(class_name, vars(module)),
            )
        )
    if not (isinstance(found, type) and issubclass(found, Method)):
        fix = f"derive the class from crossview.methods.Method, see {PAGE}"
        raise UserError(
            Problem(
                f"'{class_name}' is not a method",
                f"--plugin {plugin}",
                type(found).__name__,
                "a subclass of crossview.methods.Method",
                fix,
            )
        )
    missing = [name for name in NEEDED if getattr(found, name) is getattr(Method, name)]
    if missing:
        fix = f"add the missing members, see {PAGE}"
        raise UserError(
            Problem(
                f"the method '{class_name}' is incomplete",
                f"--plugin {plugin}",
                f"no {', no '.join(missing)}",
                ", ".join(NEEDED),
                fix,
            )
        )
    _check_parts(found)
    if plugin in METHODS and found in METHODS[plugin].__bases__:
        return METHODS[plugin]
    METHODS[plugin] = checked(found)
    LOADED[plugin] = Loaded(frozenset(found.Options.model_fields), _digest(found))
    return METHODS[plugin]


def _digest(method: type[Method]) -> str:
    """Return the SHA-256 of the file that defines a class, "" if there is no such file."""
    try:
        return sha256(Path(getfile(method)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return ""


def _check_parts(method: type[Method]) -> None:
    """Raise UserError for mistakes that show before the class is used."""
    stages, options = getattr_static(method, "stages"), method.Options
    if isinstance(stages, FunctionType | staticmethod | classmethod):
        raise wrong(method, "stages", "a function", f"{STAGES}; write @property above it")
    if not (isinstance(options, type) and issubclass(options, MethodOptions)):
        expected = "a class derived from crossview.methods.method.MethodOptions"
        raise wrong(
            method, "Options", getattr(options, "__name__", type(options).__name__), expected
        )
