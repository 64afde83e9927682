"""Parts of a method (networks, a memory), and their weights taken over from another method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from crossview.methods.method import Method
from crossview.networks import NETWORKS
from crossview.recipe.resolve import Recipe

State = dict[str, Tensor]


def heads_of(recipe: Recipe, channels: int, other: int) -> frozenset[str]:
    """Return the names of the tensors whose shape, or existence, depends on the classes.

    other: the number of classes of the weights to take over.
    """
    classes = other if other != recipe.data.classes else other + 1
    data = recipe.data.model_copy(update={"classes": classes})
    with torch.device("meta"):
        one, two = (
            {key: tensor.shape for key, tensor in each.build_method(channels).state_dict().items()}
            for each in (recipe, replace(recipe, data=data))
        )
    return frozenset(key for key in one.keys() | two.keys() if one.get(key) != two.get(key))


def parts(state: Mapping[str, Tensor]) -> dict[str, State]:
    """Return the tensors of a method by part (a network, a memory) and name in it."""
    found: dict[str, State] = {}
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        found.setdefault(part, {})[rest] = tensor
    return found


def prefixed(part: str, state: Mapping[str, Tensor]) -> State:
    return {f"{part}.{name}" if name else part: tensor for name, tensor in state.items()}


def load_part(
    method: Method, part: str, source: Mapping[str, Tensor], heads: frozenset[str], same: bool
) -> bool:
    """Load a part if all of its tensors but the heads are there. Return True if it was."""
    own = prefixed(part, parts(method.state_dict())[part])
    other = prefixed(part, source)
    if not _fits(own, other, heads):
        return False
    kept = {
        name: tensor
        for name, tensor in other.items()
        if name in own and own[name].shape == tensor.shape and (same or name not in heads)
    }
    method.load_state_dict(method.state_dict() | kept)
    return bool(kept)


def _fits(own: Mapping[str, Tensor], other: Mapping[str, Tensor], heads: frozenset[str]) -> bool:
    return all(
        name in heads or (name in other and other[name].shape == tensor.shape)
        for name, tensor in own.items()
    )


def _networks(method: Method, learns: bool) -> list[str]:
    """Return the names of the networks that an optimiser trains, or of those that it does not."""
    known = tuple(NETWORKS.values())
    return [
        name
        for name, part in method.named_children()
        if isinstance(part, known) and _learns(part) == learns
    ]


def _learns(part: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in part.parameters())


def matching(method: Method, source: Method, heads: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of networks, of a method and of a run of another method, in their order."""
    own, others = parts(method.state_dict()), parts(source.state_dict())
    left = _networks(source, learns=True)
    for name in _networks(method, learns=True):
        state = prefixed(name, own[name])
        fitting = [each for each in left if _fits(state, prefixed(name, others[each]), heads)]
        if fitting:
            left.remove(fitting[0])
            yield name, fitting[0]


def teachers(method: Method) -> Iterator[tuple[str, str]]:
    """Yield each averaged network with the trained one of the same shape."""
    of = parts(method.state_dict())
    for teacher in _networks(method, learns=False):
        for student in _networks(method, learns=True):
            if _fits(of[teacher], of[student], frozenset()):
                yield teacher, student
                break
