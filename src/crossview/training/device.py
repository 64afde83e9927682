"""Device, precision, kernels and memory of the computation, and the measured keys of [training]."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from crossview.core.errors import fail
from crossview.core.tensors import Batch
from crossview.methods.blocks.parallel import InThreads, in_turn
from crossview.methods.method import Method
from crossview.networks import NETWORKS
from crossview.networks.safe_convolution import SafeConvolutions
from crossview.training.options import TrainingOptions
from crossview.training.step import backpropagate

Precision = Literal["float32", "bf16"]
Parallel = Literal["off", "views"]
Seconds = dict[str, float]
"""Seconds of each candidate of a measured key."""


TURNS = 4
"""Timed passes per candidate."""


PATIENCE = 20.0
"""Seconds for timing whole steps; on LA a step takes many."""


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of mallopt(3), as in glibc's malloc.h."""


def find_device(name: str, where: str = "[training] device") -> torch.device:
    """Return a device; "auto" is the first CUDA GPU, else the CPU. Raise UserError if missing.

    where: the key or option that names the device.
    """
    gpus, apple = torch.cuda.device_count(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    number = {"cuda": gpus, "mps": int(apple), "cpu": 1}.get(device.type, 0)
    if (device.index or 0) < number:
        return device
    known = ["auto", "cpu", *(f"cuda:{number}" for number in range(gpus)), *["mps"] * apple]
    here = ", ".join(known)
    fail(f"unknown device '{name}'", where, expected=here)


def place(module: nn.Module, device: torch.device, dimensions: int) -> None:
    """Move a module to ``device``, in the fastest memory layout for convolutions.

    dimensions: the number of spatial axes, 2 or 3.
    """
    module.to(device)
    module.to(memory_format=torch.channels_last_3d if dimensions == 3 else torch.channels_last)  # type: ignore[call-overload]


def set_kernels(deterministic: bool) -> None:
    """Select CUDA's kernels: true float32 without TF32, and on request deterministic (slower) ones.

    CPU kernels are deterministic for a fixed number of threads; there the memory of a step is kept
    for the next one. Call this before the first tensor on the device: cuBLAS reads its setting from
    the environment when CUDA starts.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if deterministic or torch.are_deterministic_algorithms_enabled():
        # The call imports torch's compiler, which takes two seconds: not for what is so already.
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Keep freed memory in the process from now on. Return True if it worked (glibc only).

    Each step frees and requests the same activations, 64 MB and more each. glibc returns such
    blocks to the system and takes new ones, which the kernel fills with zeros page by page: on two
    cores this took a third of an LA step (docs/explanation/speed.md). Results do not change. The
    process keeps the largest amount of memory that it ever used at once.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context of forward passes: bfloat16 autocast for "bf16", none for "float32"."""
    return nullcontext() if precision == "float32" else _bfloat16(device)


@contextmanager
def _bfloat16(device: torch.device) -> Iterator[None]:
    """Within this context, compute in bfloat16 what is computed rightly in it."""
    safe = SafeConvolutions() if device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, dtype=torch.bfloat16), safe:
        yield


def networks_of(method: nn.Module) -> list[nn.Module]:
    """Return a method's networks: its views, or a student and its teacher.

    For a method with networks of its own kind, these are its parts.
    """
    known = tuple(NETWORKS.values())
    return [each for each in method.modules() if isinstance(each, known)] or list(method.children())


def measure(
    options: TrainingOptions, method: Method, batch: Batch, alone: bool = True
) -> tuple[list[str], dict[str, Seconds]]:
    """Return the measured keys of [training] as --set texts, and the seconds of each candidate.

    The seconds stand under the key's name, only for what was measured. The method is left
    unchanged.

    Args:
        options: The options as requested.
        method: The method on its device.
        batch: A batch of the first stage, on the method's device.
        alone: True if a single process trains.

    Raises:
        UserError: If the recipe asks for an impossible setting.
    """
    precision, seconds, device = options.precision, dict[str, Seconds](), batch.image.device
    if precision == "auto":
        precision, seconds["precision"] = choose_precision(networks_of(method)[0], batch.image[:1])
    reason = _why_not_recorded(method, device, alone)
    if options.compile == "graphs" and reason:
        fail(
            "passes cannot be recorded as CUDA graphs",
            "[training] compile",
            found=reason,
            fix="set training.compile=auto",
        )
    graphs = options.compile == "graphs" or (
        options.compile == "auto" and not reason and not options.deterministic
    )
    compiled = "graphs" if graphs else "false"
    parallel, reason = options.parallel, _why_not_parallel(method, device, alone)
    if parallel == "views" and reason:
        fail(
            "networks cannot run at the same time",
            "[training] parallel",
            found=reason,
            fix="set training.parallel=auto",
        )
    if parallel == "auto" and (reason or torch.get_num_threads() == 1):
        parallel = "off"
    if parallel == "auto":
        parallel, seconds["parallel"] = choose_parallel(method, batch, precision)
    return [
        f"training.precision={precision}",
        f"training.compile={compiled}",
        f"training.parallel={parallel}",
    ], seconds


def _why_not_recorded(method: Method, device: torch.device, alone: bool) -> str:
    if device.type != "cuda":
        return f"the device is {device}"
    if not method.recordable:
        return f"method {type(method).__name__} does not allow it (recordable)"
    return "" if alone else "several processes train together"


def _why_not_parallel(method: Method, device: torch.device, alone: bool) -> str:
    if device.type != "cpu":
        return f"the device is {device}"
    if method.passes_at_once == 1:
        return f"the networks of method {type(method).__name__} depend on each other, or it has one"
    return "" if alone else "several processes train together"


def choose_parallel(
    method: Method, batch: Batch, precision: Precision
) -> tuple[Parallel, dict[str, float]]:
    """Return the faster way to run independent networks in training, and the seconds of each.

    A step of the first stage is timed, without its update. "views" must be faster by a fifth to be
    chosen, so that runs that are compared choose alike. Slow steps are timed less often. Weights,
    buffers and gradients are left unchanged.
    """
    before = {name: value.clone() for name, value in method.state_dict().items()}
    stage, forward = method.stages[0], partial(autocast, batch.image.device, precision)

    def one_step(way: Parallel) -> None:
        with at_once(method) if way == "views" else nullcontext():
            backpropagate(method, batch, stage, 0, forward)

    ways: tuple[Parallel, ...] = get_args(Parallel)
    seconds = seconds_in_turn({way: partial(one_step, way) for way in ways}, PATIENCE)
    method.load_state_dict(before)
    method.zero_grad(set_to_none=True)
    return ("views" if seconds["views"] < 0.8 * seconds["off"] else "off"), seconds


@contextmanager
def at_once(method: Method) -> Iterator[None]:
    """Run independent networks of ``method`` at the same time."""
    threads = method.together = InThreads(method.passes_at_once)
    try:
        yield
    finally:
        method.together = in_turn
        threads.close()


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


def seconds_in_turn(
    works: Mapping[str, Callable[[], None]], patience: float = math.inf
) -> dict[str, float]:
    """Return the fastest of ``TURNS`` times of each, in turns; the first round selects kernels.

    patience: seconds after which no further turn begins, except the first that counts.
    """
    seconds, begun = dict.fromkeys(works, math.inf), time.perf_counter()
    for turn in range(TURNS + 1):
        if turn > 1 and time.perf_counter() - begun > patience:
            break
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
    elif image.is_mps:
        torch.mps.synchronize()
