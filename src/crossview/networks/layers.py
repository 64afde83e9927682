"""Layers of both networks, where torch needs care."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossview.kernels import load, wanted

Interpolation = Literal["nearest", "linear", "cubic"]


_TENSOR_CORE_CHANNELS = 8


_FEWEST_CHANNELS = 4
"""Fewest channels of which torch interpolates bfloat16 volumes with exact weights."""


Convolution = nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d


def normalised(
    image: Tensor, convolution: Convolution, norm: nn.BatchNorm2d | nn.BatchNorm3d, slope: float
) -> Tensor:
    """Return leaky_relu(norm(convolution(image)), slope), ReLU if ``slope`` is 0.

    Within :func:`crossview.kernels.own_kernels` those kernels are used if the weights are float32.
    They cannot differentiate by the image in evaluation mode; torch does that.
    """
    kernels = (
        _kernels_for(image)
        if _is_plain(norm) and (norm.training or not torch.is_grad_enabled())
        else None
    )
    if kernels is None or convolution.bias is None:
        return _activated(norm(convolution(image)), slope)
    features = _without_bias(convolution, image)
    if kernels.fits_layers(features) and features[:, 0].numel() > 1:
        result: Tensor = kernels.norm_activation(features, convolution.bias, norm, slope)
        return result
    bias = convolution.bias.to(features.dtype).view(1, -1, *[1] * (features.ndim - 2))
    return _activated(norm(features + bias), slope)


def _activated(features: Tensor, slope: float) -> Tensor:
    return F.leaky_relu(features, slope, inplace=True) if slope else F.relu(features, inplace=True)


def _is_plain(norm: Any) -> bool:
    """True for torch's own batch norm of one process, complete and in float32."""
    if type(norm) not in (nn.BatchNorm2d, nn.BatchNorm3d):
        return False
    whole = norm.affine and norm.track_running_stats and norm.momentum is not None
    return bool(whole and norm.weight.dtype == torch.float32)


def _without_bias(convolution: Any, image: Tensor) -> Tensor:
    if isinstance(convolution, nn.ConvTranspose3d):
        own: Any = convolution
        how = (own.stride, own.padding, own.output_padding, own.groups, own.dilation)
        return F.conv_transpose3d(image, own.weight, None, *how)
    weight = convolution.weight
    if torch.is_autocast_enabled("cuda"):
        image, weight = _widened(image, weight)
    features: Tensor = convolution._conv_forward(image, weight, None)
    return features


def _widened(image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Pad both with channels of zeros to the 8 that tensor cores need.

    The result of the convolution (without groups) is the same.
    """
    missing = max(0, _TENSOR_CORE_CHANNELS - image.shape[1])
    padding = (0, 0) * (image.ndim - 2) + (0, missing)
    return (F.pad(image, padding), F.pad(weight, padding)) if missing else (image, weight)


def _kernels_for(image: Tensor) -> ModuleType | None:
    """Return crossview's own kernels if they should be used and take this image, else None."""
    kernels = load() if wanted(image) else None
    return kernels if kernels is not None and kernels.fits_layers(image) else None


def upsample(image: Tensor, interpolation: Interpolation) -> Tensor:
    """Interpolate to twice the sides: (B, C, *S) -> (B, C, *2S).

    "cubic" is 2D only. Linear and cubic align the corners, as in the papers.
    """
    if interpolation == "nearest":
        return F.interpolate(image, scale_factor=2, mode="nearest")
    if interpolation == "linear" and (kernels := _kernels_for(image)) is not None:
        result: Tensor = kernels.doubled(image)
        return result
    mode = "bicubic" if interpolation == "cubic" else "bilinear" if image.ndim == 4 else "trilinear"
    if image.is_cuda and torch.are_deterministic_algorithms_enabled() and mode != "bilinear":
        return upsample_by_matrices(image, interpolation)
    return _interpolated(image, [2 * side for side in image.shape[2:]], mode, align_corners=True)


def resize(
    image: Tensor, size: Sequence[int], interpolation: Literal["nearest", "linear"]
) -> Tensor:
    """Interpolate (B, C, *S) -> (B, C, *size); linear does not align corners: pixels are areas."""
    if interpolation == "nearest":
        return F.interpolate(image, size=tuple(size), mode="nearest")
    mode = "bilinear" if image.ndim == 4 else "trilinear"
    if image.is_cuda and torch.are_deterministic_algorithms_enabled() and mode != "bilinear":
        return upsample_by_matrices(image, "linear", size, align_corners=False)
    return _interpolated(image, size, mode, align_corners=False)


def _interpolated(image: Tensor, size: Sequence[int], mode: str, align_corners: bool) -> Tensor:
    """Return torch's interpolation; of few bfloat16 channels on the CPU computed in float32.

    Below four channels torch (2.13) rounds the weights of trilinear interpolation to bfloat16 too,
    an error of up to 0.8 % of the largest value; of float32 rounded once it is 0.3 %.
    """
    few = image.is_cpu and image.shape[1] < _FEWEST_CHANNELS
    if few and mode == "trilinear" and image.dtype in (torch.bfloat16, torch.float16):
        return _interpolated(image.float(), size, mode, align_corners).to(image.dtype)
    return F.interpolate(image, size=tuple(size), mode=mode, align_corners=align_corners)


def upsample_by_matrices(
    image: Tensor,
    interpolation: Literal["linear", "cubic"],
    size: Sequence[int] | None = None,
    align_corners: bool = True,
) -> Tensor:
    """Compute :func:`upsample`, or with a size :func:`resize`, as one matrix product per axis.

    This is slower, but its backward pass is deterministic on CUDA. In deterministic mode torch
    refuses to differentiate its own trilinear and bicubic kernels there.
    """
    sides = [2 * side for side in image.shape[2:]] if size is None else list(size)
    result = image.to(torch.promote_types(image.dtype, torch.float32))
    with torch.autocast(image.device.type, enabled=False):
        for axis, new in enumerate(sides, 2):
            side = image.shape[axis]
            identity = torch.eye(side, dtype=result.dtype, device=result.device)[None, None]
            mode = "bicubic" if interpolation == "cubic" else "bilinear"
            matrix = F.interpolate(
                identity, size=(new, side), mode=mode, align_corners=align_corners
            )[0, 0]
            result = (result.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    return result.to(image.dtype)
