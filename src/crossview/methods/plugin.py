"""Plugin methods, "module:Class": imported on request of the command line, never of a recipe.

Plugin methods with checked return values: a mistake is reported where it is made.

Only shapes and types are read, so nothing waits for a device. Shipped methods have tests instead.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from inspect import getattr_static, getfile
from pathlib import Path
from types import FunctionType

import torch
from torch import Tensor

from crossview.core.errors import Problem, UserError, nearest
from crossview.core.plugins import LOADED, SEPARATOR, Loaded
from crossview.core.tensors import Batch
from crossview.methods import METHODS
from crossview.methods.method import Method, MethodOptions, Stage, Terms

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


PAGE = "docs/how-to/add-a-method.md"


STAGES = (
    "a property that returns a tuple of stages, "
    'for example (Stage("train", 1000, unlabelled=True),)'
)


TERMS = (
    "a dict of scalar tensors, "
    'for example {"labelled": cross_entropy_dice(logits, batch.label)}, '
    "or a generator of such dicts"
)


VIEWS = (
    "a dict of each network's logits (B, K, *S), "
    'for example {"network": self.network(image).logits}'
)


class Checked(Method):
    """Checks that come before a plugin's class among the bases of :func:`checked`.

    Raises:
        UserError: If a return value breaks the contract of :class:`Method`.
    """

    @property
    def stages(self) -> tuple[Stage, ...]:
        found = super().stages
        if not (isinstance(found, Sequence) and all(isinstance(stage, Stage) for stage in found)):
            raise wrong(type(self), "stages", _told(found), STAGES)
        return found

    def loss(self, batch: Batch, stage: Stage, step: int) -> Terms | Iterator[Terms]:
        found = super().loss(batch, stage, step)
        if isinstance(found, dict):
            return self._terms(found)
        if not isinstance(found, Iterable) or isinstance(found, Tensor | Mapping | str):
            raise wrong(type(self), "loss", _told(found), TERMS)
        # map keeps no dict, so each graph is freed before the next one is made.
        return map(self._terms, found)

    def _terms(self, found: Terms) -> Terms:
        if not isinstance(found, dict) or not found:
            raise wrong(type(self), "loss", _told(found), TERMS)
        unfit = {
            name: value
            for name, value in found.items()
            if not (isinstance(value, Tensor) and value.ndim == 0)
        }
        if unfit:
            raise wrong(type(self), "loss", _each(unfit), TERMS)
        if torch.is_grad_enabled() and not any(value.requires_grad for value in found.values()):
            raise wrong(
                type(self),
                "loss",
                f"no gradient in {', '.join(found)}",
                "at least one term that depends on a trained network",
            )
        return found

    def views(self, image: Tensor) -> Mapping[str, Tensor]:
        found = super().views(image)
        if not isinstance(found, Mapping) or not found:
            raise wrong(type(self), "views", _told(found), VIEWS)
        unfit = {name: value for name, value in found.items() if not _logits(value, image)}
        if unfit:
            raise wrong(
                type(self), "views", f"{_each(unfit)} for images {tuple(image.shape)}", VIEWS
            )
        return found


def checked(method: type[Method]) -> type[Method]:
    """Return a class of the same name whose return values are checked."""
    return type(
        method.__name__,
        (Checked, method),
        {"__module__": method.__module__, "__doc__": method.__doc__},
    )


def wrong(method: type[Method], part: str, found: str, expected: str) -> UserError:
    """Return the error of a method whose ``part`` breaks the contract."""
    where = f"{method.__module__}:{method.__name__}"
    return UserError(
        Problem(f"'{part}' breaks the contract of a method", where, found, expected, f"see {PAGE}")
    )


def _logits(value: object, image: Tensor) -> bool:
    if not (isinstance(value, Tensor) and value.is_floating_point() and value.ndim == image.ndim):
        return False
    return len(value) == len(image) and value.shape[2:] == image.shape[2:]


def _each(values: Mapping[str, object]) -> str:
    return ", ".join(f"'{name}': {_told(value)}" for name, value in values.items())


def _told(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}" if value.ndim else "a scalar tensor"
    return "an empty dict" if value == {} else "None" if value is None else type(value).__name__
