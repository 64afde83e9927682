"""What surrounds the convolutions on CUDA, by kernels of our own where they have been seen to do what torch's do.

On an H100 half of a CML step on LA was spent between the convolutions: adding biases, batch norm (torch has no fast forward kernel for
channels-last volumes), activation, and trilinear interpolation: docs/explanation/speed.md.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossview.networks.fused_norm import norm_activation
from crossview.networks.fused_upsample import doubled

__all__ = ["doubled", "fits", "norm_activation", "works_on"]


def fits(x: Tensor) -> bool:
    """Whether the kernels here are for this tensor: on CUDA, bf16, half or float32, 2D or 3D, not being compiled, seen to be right."""
    floats = (torch.bfloat16, torch.float16, torch.float32)
    small = x.is_cuda and x.dtype in floats and x.ndim in (4, 5) and 8 * x.numel() < 2**31
    return small and not torch.compiler.is_compiling() and works_on(x.device)


@cache
def works_on(device: torch.device) -> bool:
    """Whether the kernels do on this device what torch's do, tried once on noise; if not, says so in a warning."""
    try:
        alone = torch.random.fork_rng([device] if device.type == "cuda" else [])
        with alone, torch.enable_grad(), torch.autocast(device.type, enabled=False):
            torch.manual_seed(0)
            for shape, dtype in (((2, 24, 9, 40, 30), torch.float32), ((3, 16, 30, 40), torch.bfloat16)):
                compare(shape, dtype, device)
    except Exception as error:  # a compiler that is missing or broken can fail in any way
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        warnings.warn(f"torch's own batch norm and interpolation are used on {device}: {first_line}", stacklevel=2)
        return False
    return True


def compare(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    """Both operations on noise, forward and backward, against torch's in float64. Raises AssertionError where they differ."""
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-4
    kind: Any = nn.BatchNorm3d if len(shape) == 5 else nn.BatchNorm2d
    norm = kind(shape[1]).to(device)
    for parameter in norm.parameters():
        nn.init.normal_(parameter, 1)
    plain = kind(shape[1]).to(device, torch.float64)
    plain.load_state_dict(norm.state_dict())
    x = (3 + 2 * torch.randn(shape, device=device)).to(dtype).requires_grad_()
    exact = x.detach().double().requires_grad_()
    offset = torch.randn(shape[1], device=device).requires_grad_()
    outer = torch.randn(shape, device=device).to(dtype)
    for training in (True, False):
        plain.train(training), norm.train(training)
        found = norm_activation(x, offset, norm, 0.01)
        expected = F.leaky_relu(plain(exact + offset.detach().double().view(1, -1, *[1] * (len(shape) - 2))), 0.01)
        _agree(found, expected, tolerance)
        if training:
            ours = torch.autograd.grad(found, [x, norm.weight, norm.bias, offset], outer)
            theirs = torch.autograd.grad(expected, [exact, plain.weight, plain.bias], outer.double())
            for one, other in zip(ours, (*theirs, torch.zeros_like(offset)), strict=True):
                _agree(one, other, tolerance)
            _agree(norm.running_mean, plain.running_mean, 1e-4)
            _agree(norm.running_var, plain.running_var, 1e-4)
    mode = "trilinear" if len(shape) == 5 else "bilinear"
    found, expected = doubled(x), F.interpolate(exact, scale_factor=2, mode=mode, align_corners=True)
    _agree(found, expected, tolerance)
    outer = torch.randn(found.shape, device=device).to(dtype)
    ours, theirs = torch.autograd.grad(found, [x], outer), torch.autograd.grad(expected, [exact], outer.double())
    _agree(ours[0], theirs[0], tolerance)


def _agree(found: Tensor, expected: Tensor, tolerance: float) -> None:
    difference = (found.double() - expected).abs().max()
    if not difference <= tolerance * max(float(expected.abs().max()), 1e-6):
        raise AssertionError(f"the kernels of crossview.networks are {float(difference):.2g} off")
