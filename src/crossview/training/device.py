"""Where and how precisely to compute: the device, the precision, determinism."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from crossview.errors import Problem, UserError
from crossview.training.memory import keep_freed_memory

Precision = Literal["float32", "bf16"]
TURNS = 4
"""Passes of each contestant that are timed."""


def find_device(name: str) -> torch.device:
    """The device of a recipe: "auto" is the first GPU, else the CPU. Raises UserError for one that is not there."""
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
            Problem(
                f"there is no device '{name}'", where="[training] device", expected=", ".join(here)
            )
        )
    return device


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """bfloat16 where it is safe for "bf16", nothing for "float32"."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def choose_precision(network: nn.Module, image: Tensor) -> tuple[Precision, dict[str, float]]:
    """The faster of float32 and bf16 for forward and backward passes of ``network`` on ``image`` (B, C, *S), and the seconds of each.

    The two take turns, and the quickest pass of each counts: on a machine that is busy with other work too, both meet the same stalls.
    The network's weights, buffers and gradients are left as they were. bf16 must win by a tenth to be chosen.
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
    """The seconds of each, the quickest of ``TURNS``; they take turns, after a first round that also chooses kernels."""
    seconds = dict.fromkeys(works, math.inf)
    for turn in range(TURNS + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if turn:
                seconds[name] = min(time.perf_counter() - start, seconds[name])
    return {name: round(best, 4) for name, best in seconds.items()}


def one_pass(network: nn.Module, image: Tensor, precision: Precision) -> None:
    """A forward and backward pass of ``network`` on ``image`` (B, C, *S), waited for."""
    with autocast(image.device, precision):
        logits = network(image).logits
    logits.float().square().mean().backward()
    if image.is_cuda:
        torch.cuda.synchronize(image.device)


def set_kernels(deterministic: bool) -> None:
    """Choose CUDA's kernels: true float32 and no TF32, and deterministic ones (they cost speed) if asked for.

    The CPU's kernels are deterministic for a fixed number of threads anyway; there the memory of a step is kept for the next one.

    cuBLAS reads its part from the environment when CUDA starts, so this comes before the first tensor on the device.
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
    """Move a module to ``device``, in the memory layout that convolutions are fastest in. ``dimensions``: spatial axes, 2 or 3."""
    module.to(device)
    module.to(memory_format=torch.channels_last_3d if dimensions == 3 else torch.channels_last)  # type: ignore[call-overload]
