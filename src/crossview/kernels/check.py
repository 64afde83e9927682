"""Every kernel, and its check on the device at hand: it is tried once before it is trusted.

Kernels are compared with torch's operations in float64, components with the host's. A kernel that
differs or fails is not used. On an H100, half of a CML step on LA was spent between the
convolutions: biases, batch norm (torch has no fast forward kernel for channels-last volumes),
activation, and trilinear interpolation. See docs/explanation/speed.md.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from crossview.core.errors import first_line
from crossview.kernels import loss
from crossview.kernels.components import largest_components_there
from crossview.kernels.loss import cross_entropy_dice
from crossview.kernels.norm import norm_activation
from crossview.kernels.upsample import doubled

__all__ = [
    "components_work",
    "cross_entropy_dice",
    "doubled",
    "fits_layers",
    "fits_loss",
    "largest_components_there",
    "norm_activation",
]

FLOATS = (torch.bfloat16, torch.float16, torch.float32)

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Function (logits, label, weight) -> scalar, by torch's operations and in any type."""

Components = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]
"""Function (label, classes) -> label with the largest component of each class, on the host."""


def fits_layers(x: Tensor) -> bool:
    """True for bf16, half or float32, 2D or 3D, on a device where :func:`layers_work`."""
    fits = x.dtype in FLOATS and x.ndim in (4, 5) and 8 * x.numel() < 2**31
    return fits and layers_work(x.device)


def fits_loss(logits: Tensor, label: Tensor, plain: Loss) -> bool:
    """True for bf16, half or float32 that the loss takes, on a device where :func:`loss_works`."""
    fits = logits.dtype in FLOATS and loss.takes(logits, label)
    return fits and loss_works(logits.device, plain)


@cache
def layers_work(device: torch.device) -> bool:
    """True if batch norm and upsampling agree with torch's on noise; warn if not."""

    def check() -> None:
        for compare in (compare_norm, compare_upsampling):
            compare((2, 24, 9, 40, 30), torch.float32, device)
            compare((3, 16, 30, 40), torch.bfloat16, device)

    return works("torch's own batch norm and interpolation are", check, device)


@cache
def loss_works(device: torch.device, plain: Loss) -> bool:
    """True if the loss agrees with ``plain`` on noise; warn if not."""

    def check() -> None:
        for weighted in (False, True):
            compare_loss((3, 2, 9, 40, 30), torch.float32, weighted, device, plain)
            compare_loss((2, 4, 30, 40), torch.bfloat16, weighted, device, plain)

    return works("torch's own cross-entropy and Dice are", check, device)


@cache
def components_work(device: torch.device, host: Components) -> bool:
    """True if components equal the host's on noise; warn if not."""
    shapes = {(2, 40, 44): (0.3,), (2, 24, 20, 18): (0.1, 0.4), (4, 64, 48, 80): (0.2,)}

    def check() -> None:
        rng = np.random.default_rng(0)
        for shape, densities in shapes.items():
            for density in densities:
                label = rng.integers(1, 4, shape, dtype=np.uint8) * (rng.random(shape) < density)
                found = largest_components_there(torch.from_numpy(label).to(device), 4)
                if not np.array_equal(found.cpu().numpy(), host(label, 4)):
                    raise AssertionError(f"other components on noise of {shape} voxels")

    return works("the host's components are", check, device)


def works(instead: str, check: Callable[[], None], device: torch.device) -> bool:
    """True if ``check`` passes.

    If not, warn that ``instead`` used, and why. The check has its own random numbers. The caller's
    autocast and gradient mode do not affect it.
    """
    alone = torch.random.fork_rng([device] if device.type == "cuda" else [])
    try:
        with alone, torch.enable_grad(), torch.autocast(device.type, enabled=False):
            torch.manual_seed(0)
            check()
    except Exception as error:  # a missing or broken compiler can fail in any way
        warnings.warn(f"{instead} used on {device}: {first_line(error)}", stacklevel=2)
        return False
    return True


def agree(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Raise AssertionError if a difference exceeds ``tolerance`` x the largest expected value."""
    difference = float((found.detach().double() - expected.detach()).abs().max())
    if not difference <= tolerance * max(float(expected.detach().abs().max()), 1e-6):
        raise AssertionError(f"a kernel of crossview is {difference:.2g} off")


def compare_norm(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    """Compare batch norm with activation on noise, forward and backward, with torch's in float64.

    Raises:
        AssertionError: If they differ.
    """
    tolerance = _tolerance(dtype)
    kind: Any = nn.BatchNorm3d if len(shape) == 5 else nn.BatchNorm2d
    norm = kind(shape[1]).to(device)
    for parameter in norm.parameters():
        nn.init.normal_(parameter, 1)
    plain = kind(shape[1]).to(device, torch.float64)
    plain.load_state_dict(norm.state_dict())
    offset = torch.randn(shape[1], device=device).requires_grad_()
    exact_offset = offset.detach().double().view(1, -1, *[1] * (len(shape) - 2))
    x = (3 + 2 * torch.randn(shape, device=device)).to(dtype)
    # No value so near 0 after batch norm that rounding decides its sign.
    with torch.no_grad():
        near_zero = plain(x.double() + exact_offset).abs() < 0.01
        x = torch.where(near_zero, x + 0.25, x).requires_grad_()
    plain.load_state_dict(norm.state_dict())
    exact = x.detach().double().requires_grad_()
    outer = torch.randn(shape, device=device).to(dtype)
    for training in (True, False):
        plain.train(training), norm.train(training)
        found = norm_activation(x, offset, norm, 0.01)
        expected = F.leaky_relu(plain(exact + exact_offset), 0.01)
        agree(found, expected, tolerance)
        if training:
            ours = torch.autograd.grad(found, [x, norm.weight, norm.bias, offset], outer)
            inputs = [exact, plain.weight, plain.bias]
            theirs = torch.autograd.grad(expected, inputs, outer.double())
            for one, other in zip(ours, (*theirs, torch.zeros_like(offset)), strict=True):
                agree(one, other, tolerance)
            agree(norm.running_mean, plain.running_mean, 1e-4)
            agree(norm.running_var, plain.running_var, 1e-4)


def compare_upsampling(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    """Compare upsampling on noise, forward and backward, with torch's in float64.

    Raises:
        AssertionError: If they differ.
    """
    x = torch.randn(shape, device=device).to(dtype).requires_grad_()
    exact = x.detach().double().requires_grad_()
    mode = "trilinear" if len(shape) == 5 else "bilinear"
    found = doubled(x)
    expected = F.interpolate(exact, scale_factor=2, mode=mode, align_corners=True)
    agree(found, expected, _tolerance(dtype))
    outer = torch.randn(found.shape, device=device).to(dtype)
    (ours,) = torch.autograd.grad(found, [x], outer)
    (theirs,) = torch.autograd.grad(expected, [exact], outer.double())
    agree(ours, theirs, _tolerance(dtype))


def _tolerance(dtype: torch.dtype) -> float:
    return 2e-2 if dtype == torch.bfloat16 else 1e-4


def compare_loss(
    shape: tuple[int, ...], dtype: torch.dtype, weighted: bool, device: torch.device, plain: Loss
) -> None:
    """Compare loss and gradient on noise, in both memory layouts, with ``plain`` in float64.

    Raises:
        AssertionError: If they differ.
    """
    channels_last: Any = torch.channels_last_3d if len(shape) == 5 else torch.channels_last
    for layout in (torch.contiguous_format, channels_last):
        noise = (3 * torch.randn(shape, device=device)).to(dtype)
        logits = noise.contiguous(memory_format=layout).requires_grad_()
        exact = logits.detach().double().requires_grad_()
        label = torch.randint(shape[1], (shape[0], *shape[2:]), device=device, dtype=torch.uint8)
        weight = torch.rand(label.shape, device=device) if weighted else None
        found = cross_entropy_dice(logits, label, weight)
        expected = plain(exact, label, None if weight is None else weight.double())
        agree(found, expected, 1e-5)
        (ours,) = torch.autograd.grad(2 * found, [logits])
        (theirs,) = torch.autograd.grad(2 * expected, [exact])
        agree(ours, theirs, 1e-2 if dtype == torch.bfloat16 else 1e-4)
