"""Plugin methods: loading "module:Class" on request, and checks of what a method returns.

A recipe alone never loads code. The checks read shapes and types, so nothing waits for a device.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from inspect import getattr_static, getfile
from pathlib import Path
from types import FunctionType, ModuleType
from typing import NoReturn

import torch
from torch import Tensor

from crossview.core.errors import fail, nearest
from crossview.core.plugins import LOADED, SEPARATOR, Loaded
from crossview.core.tensors import Batch
from crossview.methods.method import Method, MethodOptions, Stage, Terms

PAGE = "docs/how-to/add-a-method.md"

NEEDED = ("stages", "loss", "views")
"""Members that every method must define; ``stages`` may be those of its options."""

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


def load(plugin: str) -> type[Method]:
    """Import a plugin, also from the current folder, and make it available to recipes.

    Args:
        plugin: "module:Class", the name under which recipes use it.

    Returns:
        The class.

    Raises:
        UserError: If it cannot be found, or breaks the contract of :class:`Method`.
    """
    module_name, _, class_name = plugin.partition(SEPARATOR)
    if not all(part.isidentifier() for part in (*module_name.split("."), class_name)):
        fix = "write --plugin my_method:MyMethod for class MyMethod in my_method.py"
        expected = "module:Class"
        fail(
            "this is not the name of a plugin", "--plugin", found=plugin, expected=expected, fix=fix
        )
    where, module = f"--plugin {plugin}", _module(module_name, plugin)
    found = getattr(module, class_name, None)
    if found is None:
        what = f"the module '{module_name}' has no class '{class_name}'"
        fail(what, where, fix=nearest(class_name, vars(module)))
    if not (isinstance(found, type) and issubclass(found, Method)):
        fail(
            f"'{class_name}' is not a method",
            where,
            found=type(found).__name__,
            expected="a subclass of crossview.methods.Method",
            fix=f"derive the class from crossview.methods.Method, see {PAGE}",
        )
    if missing := _missing(found):
        fail(
            f"the method '{class_name}' is incomplete",
            where,
            found=f"no {', no '.join(missing)}",
            expected=", ".join(NEEDED),
            fix=f"add the missing members, see {PAGE}",
        )
    _check_class(found)
    if plugin not in LOADED or LOADED[plugin].method is not found:
        LOADED[plugin] = Loaded(found, _digest(found))
    return found


def _module(name: str, plugin: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        own = f"{name}.".startswith(f"{missing}.")
        fail(
            f"no module is named '{missing}'",
            f"--plugin {plugin}",
            fix=f"run crossview in the folder of {missing.split('.')[0]}.py, or install its package"
            if own
            else f"install the package of '{missing.split('.')[0]}', which {name} imports",
        )


def _missing(method: type[Method]) -> list[str]:
    missing = [name for name in NEEDED if getattr(method, name) is getattr(Method, name)]
    return [name for name in missing if name != "stages" or not hasattr(method.Options, name)]


def _check_class(method: type[Method]) -> None:
    """Raise UserError for mistakes that show before the class is used."""
    stages, options = getattr_static(method, "stages"), method.Options
    if isinstance(stages, FunctionType | staticmethod | classmethod):
        _wrong(method, "stages", "a function", f"{STAGES}; write @property above it")
    if not (isinstance(options, type) and issubclass(options, MethodOptions)):
        expected = "a class derived from crossview.methods.method.MethodOptions"
        _wrong(method, "Options", getattr(options, "__name__", type(options).__name__), expected)


def _digest(method: type[Method]) -> str:
    """Return the SHA-256 of the file that defines a class, "" if there is no such file."""
    try:
        return sha256(Path(getfile(method)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return ""


def checked_stages(method: Method) -> tuple[Stage, ...]:
    """Return the stages of a method. UserError if they are none."""
    found = method.stages
    if not (isinstance(found, Sequence) and all(isinstance(stage, Stage) for stage in found)):
        _wrong(type(method), "stages", _kind(found), STAGES)
    return found


def checked_terms(method: Method, batch: Batch, stage: Stage, step: int) -> Iterator[Terms]:
    """Yield the dicts of loss terms of a batch one by one, whether ``loss`` returns or yields them.

    ``loss`` runs when a dict is asked for, within the caller's context. No dict is kept, so each
    graph can be freed before the next one is made.

    Raises:
        UserError: If ``loss`` breaks the contract of :class:`Method`.
    """
    found: object = method.loss(batch, stage, step)
    if isinstance(found, dict):
        found = (found,)
    if not isinstance(found, Iterable) or isinstance(found, Tensor | Mapping | str):
        _wrong(type(method), "loss", _kind(found), TERMS)
    yield from map(partial(_check_terms, type(method)), found)


def _check_terms(method: type[Method], found: Terms) -> Terms:
    if not isinstance(found, dict) or not found:
        _wrong(method, "loss", _kind(found), TERMS)
    unfit = {
        name: value
        for name, value in found.items()
        if not (isinstance(value, Tensor) and value.ndim == 0)
    }
    if unfit:
        _wrong(method, "loss", _kinds(unfit), TERMS)
    if torch.is_grad_enabled() and not any(value.requires_grad for value in found.values()):
        expected = "at least one term that depends on a trained network"
        _wrong(method, "loss", f"no gradient in {', '.join(found)}", expected)
    return found


def check_views(method: Method, image: Tensor) -> None:
    """Call ``views`` on images (B, C, *S). UserError if it breaks the contract of Method."""
    found: object = method.views(image)
    if not isinstance(found, Mapping) or not found:
        _wrong(type(method), "views", _kind(found), VIEWS)
    unfit = {name: value for name, value in found.items() if not _are_logits(value, image)}
    if unfit:
        kinds = f"{_kinds(unfit)} for images {tuple(image.shape)}"
        _wrong(type(method), "views", kinds, VIEWS)


def _are_logits(value: object, image: Tensor) -> bool:
    if not (isinstance(value, Tensor) and value.is_floating_point() and value.ndim == image.ndim):
        return False
    return len(value) == len(image) and value.shape[2:] == image.shape[2:]


def _wrong(method: type[Method], part: str, found: str, expected: str) -> NoReturn:
    where = f"{method.__module__}:{method.__name__}"
    what = f"'{part}' breaks the contract of a method"
    fail(what, where, found=found, expected=expected, fix=f"see {PAGE}")


def _kinds(values: Mapping[str, object]) -> str:
    return ", ".join(f"'{name}': {_kind(value)}" for name, value in values.items())


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}" if value.ndim else "a scalar tensor"
    return "an empty dict" if value == {} else "None" if value is None else type(value).__name__
