"""Layers that both networks share, and the two places where torch needs care."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Interpolation = Literal["nearest", "linear", "cubic"]

_SMALLEST_SAFE_SIDE = 4


class Convolution3d(nn.Conv3d):
    """A 3D convolution that leaves CPU autocast where its input has a side below 4.

    There torch (2.13) computes the bfloat16 weight gradient of a 3x3x3 convolution from uninitialised memory, and a
    network with a small bottleneck trains to NaN. Such layers hold a handful of voxels; float32 costs nothing.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.is_cpu and torch.is_autocast_enabled("cpu") and min(input.shape[2:]) < _SMALLEST_SAFE_SIDE:
            with torch.autocast("cpu", enabled=False):
                return super().forward(input.float())
        return super().forward(input)


def upsample(image: Tensor, interpolation: Interpolation) -> Tensor:
    """Twice the sides: (B, C, *S) -> (B, C, *2S). Linear and cubic interpolation align the corner positions, as in the papers."""
    if interpolation == "nearest":
        return F.interpolate(image, scale_factor=2, mode="nearest")
    flat = image.ndim == 4
    if interpolation == "cubic" and not flat:
        raise ValueError("cubic interpolation exists for 2D images only")
    mode = "bicubic" if interpolation == "cubic" else "bilinear" if flat else "trilinear"
    return F.interpolate(image, scale_factor=2, mode=mode, align_corners=True)
