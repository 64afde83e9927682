"""Kernels for CUDA around the convolutions, used only where they were found to agree with torch's.

On an H100, half of a CML step on LA was spent between the convolutions: biases, batch norm (torch
has no fast forward kernel for channels-last volumes), activation, and trilinear interpolation. See
docs/explanation/speed.md.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossview.kernels import agree, works
from crossview.networks.fused_norm import norm_activation
from crossview.networks.fused_upsample import doubled

__all__ = ["doubled", "fits", "norm_activation", "works_on"]


def fits(x: Tensor) -> bool:
    """True for bf16, half or float32, 2D or 3D, on a device where the kernels work."""
    floats = (torch.bfloat16, torch.float16, torch.float32)
    return x.dtype in floats and x.ndim in (4, 5) and 8 * x.numel() < 2**31 and works_on(x.device)


@cache
def works_on(device: torch.device) -> bool:
    """True if the kernels agree with torch on this device, tried once on noise; warn if not."""
    return works("batch norm and interpolation are", _check, device)


def _check(device: torch.device) -> None:
    for shape, dtype in (((2, 24, 9, 40, 30), torch.float32), ((3, 16, 30, 40), torch.bfloat16)):
        compare(shape, dtype, device)


def compare(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    """Compare both operations on noise, forward and backward, with torch's in float64.

    Raises:
        AssertionError: If they differ.
    """
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-4
    kind: Any = nn.BatchNorm3d if len(shape) == 5 else nn.BatchNorm2d
    norm = kind(shape[1]).to(device)
    for parameter in norm.parameters():
        nn.init.normal_(parameter, 1)
    plain = kind(shape[1]).to(device, torch.float64)
    plain.load_state_dict(norm.state_dict())
    offset = torch.randn(shape[1], device=device).requires_grad_()
    x = (3 + 2 * torch.randn(shape, device=device)).to(dtype)
    # No value so near 0 after batch norm that rounding decides its sign.
    with torch.no_grad():
        biased = plain(x.double() + offset.double().view(1, -1, *[1] * (len(shape) - 2)))
        x = torch.where(biased.abs() < 0.01, x + 0.25, x).requires_grad_()
    plain.load_state_dict(norm.state_dict())
    exact = x.detach().double().requires_grad_()
    outer = torch.randn(shape, device=device).to(dtype)
    for training in (True, False):
        plain.train(training), norm.train(training)
        found = norm_activation(x, offset, norm, 0.01)
        expected = F.leaky_relu(
            plain(exact + offset.detach().double().view(1, -1, *[1] * (len(shape) - 2))), 0.01
        )
        agree(found, expected, tolerance)
        if training:
            ours = torch.autograd.grad(found, [x, norm.weight, norm.bias, offset], outer)
            theirs = torch.autograd.grad(
                expected, [exact, plain.weight, plain.bias], outer.double()
            )
            for one, other in zip(ours, (*theirs, torch.zeros_like(offset)), strict=True):
                agree(one, other, tolerance)
            agree(norm.running_mean, plain.running_mean, 1e-4)
            agree(norm.running_var, plain.running_var, 1e-4)
    mode = "trilinear" if len(shape) == 5 else "bilinear"
    found, expected = (
        doubled(x),
        F.interpolate(exact, scale_factor=2, mode=mode, align_corners=True),
    )
    agree(found, expected, tolerance)
    outer = torch.randn(found.shape, device=device).to(dtype)
    ours, theirs = (
        torch.autograd.grad(found, [x], outer),
        torch.autograd.grad(expected, [exact], outer.double()),
    )
    agree(ours[0], theirs[0], tolerance)
