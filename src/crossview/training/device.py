"""Device, precision and determinism of the computation."""

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
