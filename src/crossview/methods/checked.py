"""Plugin methods with checked return values: a mistake is reported where it is made.

Only shapes and types are read, so nothing waits for a device. Shipped methods have tests instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from crossview.batch import Batch
from crossview.errors import Problem, UserError
from crossview.methods.method import Method, Stage, Terms

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
