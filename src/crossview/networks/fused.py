"""What surrounds the convolutions on CUDA, by kernels of our own where they have been seen to do what torch's do.

On an H100 half of a CML step on LA was spent between the convolutions: adding biases, batch norm (torch has no fast forward kernel for
channels-last volumes), activation, and trilinear interpolation: docs/explanation/speed.md.
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
    """Whether the kernels here are for this tensor: bf16, half or float32, 2D or 3D, on a device where they were seen to be right."""
    floats = (torch.bfloat16, torch.float16, torch.float32)
    return x.dtype in floats and x.ndim in (4, 5) and 8 * x.numel() < 2**31 and works_on(x.device)


@cache
def works_on(device: torch.device) -> bool:
    """Whether the kernels do on this device what torch's do, tried once on noise; if not, says so in a warning."""
    return works("batch norm and interpolation are", _check, device)


def _check(device: torch.device) -> None:
    for shape, dtype in (((2, 24, 9, 40, 30), torch.float32), ((3, 16, 30, 40), torch.bfloat16)):
        compare(shape, dtype, device)


def compare(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    """Both operations on noise, forward and backward, against torch's in float64. Raises AssertionError where they differ."""
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-4
    kind: Any = nn.BatchNorm3d if len(shape) == 5 else nn.BatchNorm2d
    norm = kind(shape[1]).to(device)
    for parameter in norm.parameters():
        nn.init.normal_(parameter, 1)
    plain = kind(shape[1]).to(device, torch.float64)
    plain.load_state_dict(norm.state_dict())
    offset = torch.randn(shape[1], device=device).requires_grad_()
    x = (3 + 2 * torch.randn(shape, device=device)).to(dtype)
    with (
        torch.no_grad()
    ):  # none so near to 0 after the batch norm that rounding decides on which side it is
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
