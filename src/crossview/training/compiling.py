"""Networks compiled by torch.compile, where the recipe says so: fewer and larger kernels, the same mathematics rounded in another order."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from crossview.errors import Problem, UserError
from crossview.networks.build import NETWORKS
from crossview.training.device import Precision, one_pass, seconds_in_turn


@dataclass(frozen=True)
class Trial:
    """Seconds of a forward and backward pass, "eager" and "compiled", and of the first compiled one, compiling included."""

    eager: float
    compiled: float
    compiling: float

    def as_seconds(self) -> dict[str, float]:
        """For environment.json."""
        return {"eager": self.eager, "compiled": self.compiled, "compiling": self.compiling}


def networks_of(method: nn.Module) -> list[nn.Module]:
    """The networks that a method owns: its views, or a student and its teacher; its parts, where it has networks of its own kind."""
    return [
        module for module in method.modules() if isinstance(module, tuple(NETWORKS.values()))
    ] or list(method.children())


def try_compiled(network: nn.Module, image: Tensor, precision: Precision) -> Trial:
    """Time a copy of ``network`` on ``image`` (B, C, *S), as it is and compiled; the network itself is left alone.

    Raises UserError where torch can't compile here: it needs a C++ compiler on the CPU and Triton on CUDA.
    """
    plain, compiled = copy.deepcopy(network), copy.deepcopy(network)
    compile_networks([compiled])
    begun = time.perf_counter()
    try:
        one_pass(compiled, image, precision)
    except Exception as error:  # whatever a compiler can do wrong
        found = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            Problem(
                "torch.compile does not work here",
                "[training] compile",
                found,
                fix="training.compile=false, or install a compiler",
            )
        ) from error
    compiling = round(time.perf_counter() - begun, 4)
    works = {
        "eager": partial(one_pass, plain, image, precision),
        "compiled": partial(one_pass, compiled, image, precision),
    }
    return Trial(**seconds_in_turn(works), compiling=compiling)


def compile_networks(networks: Iterable[nn.Module]) -> None:
    """Compile networks in place, when they are next called; names and weights stay as they are."""
    for network in networks:
        network.compile(dynamic=False)
