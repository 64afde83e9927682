"""Where and how precisely to compute: the device, the precision, determinism."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from crossview.errors import Problem, UserError
from crossview.training.memory import keep_freed_memory

Precision = Literal["float32", "bf16"]


def find_device(name: str) -> torch.device:
    """The device of a recipe: "auto" is the first GPU, else the CPU. Raises UserError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    here = ["auto", "cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    known = device.type == "cpu" or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count())
    if not known:
        raise UserError(Problem(f"there is no device '{name}'", where="[training] device", expected=", ".join(here)))
    return device


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """bfloat16 where it is safe for "bf16", nothing for "float32"."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def choose_precision(network: nn.Module, image: Tensor) -> tuple[Precision, dict[str, float]]:
    """The faster of float32 and bf16 for forward and backward passes of ``network`` on ``image`` (B, C, *S), and the seconds of each.

    The network's weights, buffers and gradients are left as they were. bf16 must win by a tenth to be chosen.
    """
    before = {name: value.clone() for name, value in network.state_dict().items()}
    precisions: tuple[Precision, ...] = ("float32", "bf16")
    seconds = {name: seconds_of_a_pass(network, image, name) for name in precisions}
    network.load_state_dict(before)
    network.zero_grad(set_to_none=True)
    return ("bf16" if seconds["bf16"] < 0.9 * seconds["float32"] else "float32"), {str(name): value for name, value in seconds.items()}


def seconds_of_a_pass(network: nn.Module, image: Tensor, precision: Precision) -> float:
    """Seconds of a forward and backward pass of ``network`` on ``image`` (B, C, *S): the faster of two after a first one."""
    times = []
    for _ in range(3):  # the first pass also chooses kernels
        start = time.perf_counter()
        _once(network, image, precision)
        times.append(time.perf_counter() - start)
    return round(min(times[1:]), 4)


def _once(network: nn.Module, image: Tensor, precision: Precision) -> None:
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
