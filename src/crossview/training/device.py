"""Device, precision and determinism of the computation.

Measured keys of [training]: the values of those that are "auto".

Freed memory of the C library, kept by the process between steps.

Each training step frees and requests the same activations, 64 MB and more each. glibc returns such
blocks to the system and takes new ones, which the kernel fills with zeros page by page: on two
cores this took a third of an LA step (docs/explanation/speed.md).

Networks compiled by torch.compile, where the recipe says so: fewer and larger kernels, the same mathematics rounded in another order.
"""

from __future__ import annotations

import copy
import ctypes
import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from crossview.core.errors import Problem, UserError
from crossview.methods.method import Method
from crossview.networks import NETWORKS
from crossview.training.options import TrainingOptions

Precision = Literal["float32", "bf16"]


TURNS = 4
"""Timed passes per candidate."""


def find_device(name: str) -> torch.device:
    """Return a device; "auto" is the first GPU, else the CPU. Raise UserError if there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    here = ["auto", "cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    known = device.type == "cpu" or (
        device.type == "cuda" and (device.index or 0) < torch.cuda.device_count()
    )
    if not known:
        raise UserError(
            Problem(f"unknown device '{name}'", where="[training] device", expected=", ".join(here))
        )
    return device


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context of forward passes: bfloat16 autocast for "bf16", none for "float32"."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def choose_precision(network: nn.Module, image: Tensor) -> tuple[Precision, dict[str, float]]:
    """Return the faster precision for passes on ``image`` (B, C, *S), and the seconds of each.

    A pass is forward and backward. The two precisions take turns and the fastest pass of each
    counts, so on a busy machine both meet the same stalls. bf16 must be faster by a tenth to be
    chosen. Weights, buffers and gradients are left unchanged.
    """
    before = {name: value.clone() for name, value in network.state_dict().items()}
    precisions: tuple[Precision, ...] = get_args(Precision)
    seconds = seconds_in_turn(
        {name: partial(one_pass, network, image, name) for name in precisions}
    )
    network.load_state_dict(before)
    network.zero_grad(set_to_none=True)
    return ("bf16" if seconds["bf16"] < 0.9 * seconds["float32"] else "float32"), seconds


def seconds_in_turn(works: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    """Return the fastest of ``TURNS`` times of each, in turns; the first round selects kernels."""
    seconds = dict.fromkeys(works, math.inf)
    for turn in range(TURNS + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if turn:
                seconds[name] = min(time.perf_counter() - start, seconds[name])
    return {name: round(best, 4) for name, best in seconds.items()}


def one_pass(network: nn.Module, image: Tensor, precision: Precision) -> None:
    """Run a forward and backward pass on ``image`` (B, C, *S), and wait for it."""
    with autocast(image.device, precision):
        logits = network(image).logits
    logits.float().square().mean().backward()
    if image.is_cuda:
        torch.cuda.synchronize(image.device)


def set_kernels(deterministic: bool) -> None:
    """Select CUDA's kernels: true float32 without TF32, and on request deterministic (slower) ones.

    CPU kernels are deterministic for a fixed number of threads; there the memory of a step is kept
    for the next one. Call this before the first tensor on the device: cuBLAS reads its setting from
    the environment when CUDA starts.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    keep_freed_memory()


def place(module: nn.Module, device: torch.device, dimensions: int) -> None:
    """Move a module to ``device``, in the fastest memory layout for convolutions.

    dimensions: the number of spatial axes, 2 or 3.
    """
    module.to(device)
    module.to(memory_format=torch.channels_last_3d if dimensions == 3 else torch.channels_last)  # type: ignore[call-overload]


def measure(
    options: TrainingOptions, method: Method, images: Tensor, alone: bool = True
) -> tuple[list[str], dict[str, dict[str, float]]]:
    """Return training.precision and training.compile as --set texts, and the measured seconds.

    images: real ones of a batch, (B, C, *S), on the method's device. alone: one process trains.
    The method is left unchanged. Raises UserError if the recipe asks for an impossible setting.
    """
    networks = networks_of(method)
    precision, seconds = options.precision, dict[str, dict[str, float]]()
    if precision == "auto":
        precision, seconds["precision"] = choose_precision(networks[0], images[:1])
    compiled = options.compile
    reason = _why_not_recorded(method, images, alone)
    if compiled == "auto":
        compiled = False if reason or options.deterministic else "graphs"
    elif compiled == "graphs" and reason:
        raise UserError(
            Problem(
                "passes cannot be recorded as CUDA graphs",
                "[training] compile",
                reason,
                fix="set training.compile=auto",
            )
        )
    elif compiled is True:
        seconds["compile"] = try_compiled(networks[0], images, precision).as_seconds()
    return [f"training.precision={precision}", f"training.compile={str(compiled).lower()}"], seconds


def _why_not_recorded(method: Method, images: Tensor, alone: bool) -> str:
    if images.device.type != "cuda":
        return f"the device is {images.device}"
    if not method.recordable:
        return f"method {type(method).__name__} does not allow it (recordable)"
    return "" if alone else "several processes train together"


_TRIM_THRESHOLD = -1


_MMAP_MAX = -4
"""Parameters of mallopt(3), as in glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Keep freed memory in the process from now on. Return True if it worked (glibc only).

    Results do not change. The process keeps the largest amount of memory that it ever used at once.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))


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
