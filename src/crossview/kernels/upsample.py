"""Linear interpolation of channels-last tensors to twice their sides, in the tensor's own type.

Sums are float32. Under autocast torch's own interpolation converts to float32 and to another memory
layout. The gradient is gathered, not scattered, so it is reproducible.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from crossview.kernels.tiles import grid, layout, tiles


@triton.jit
def _source(position, ratio, side):
    """Return an output position's two neighbours on an input axis and the second one's weight."""
    at = position.to(tl.float32) * ratio
    low = at.to(tl.int32)
    return low, tl.minimum(low + 1, side - 1), at - low.to(tl.float32)


@triton.jit
def _interpolate(
    x, y, X, Y, Z, X2, Y2, Z2, rx, ry, rz, rows, C,
    BLOCK_ROWS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    channel = (tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C))[None, :]
    row = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    there = (row < rows)[:, None] & (channel < C)
    plane = row // Z2
    x0, x1, wx = _source((plane // Y2) % X2, rx, X)
    y0, y1, wy = _source(plane % Y2, ry, Y)
    z0, z1, wz = _source(row % Z2, rz, Z)
    sample = plane // (Y2 * X2) * X
    a, b = (sample + x0) * Y, (sample + x1) * Y
    value = tl.zeros((BLOCK_ROWS, BLOCK_C), tl.float32)
    for corner in tl.static_range(8):
        line = (b if corner & 4 else a) + (y1 if corner & 2 else y0)
        voxel = line * Z + (z1 if corner & 1 else z0)
        share = (
            (wx if corner & 4 else 1 - wx)
            * (wy if corner & 2 else 1 - wy)
            * (wz if corner & 1 else 1 - wz)
        )
        value += share[:, None] * tl.load(x + voxel[:, None] * C + channel, mask=there, other=0).to(
            tl.float32
        )
    tl.store(y + row[:, None] * C + channel, value.to(y.dtype.element_ty), mask=there)


@triton.jit
def _taken(position, own, ratio, side, sides):
    """Return the share of input position ``own`` in an output position; 0 outside the axis."""
    low, high, weight = _source(position, ratio, side)
    share = tl.where(low == own, 1 - weight, 0) + tl.where(high == own, weight, 0)
    return tl.where((position >= 0) & (position < sides), share, 0)


@triton.jit
def _interpolation_gradient(
    gradient, out, X, Y, Z, X2, Y2, Z2, rx, ry, rz, rows, C,
    FLAT: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Gather the gradient of input voxel i from output positions 2i - 2 to 2i + 3 per axis."""
    channel = (tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C))[None, :]
    row = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    inside = (row < rows)[:, None] & (channel < C)
    plane = row // Z
    ix, iy, iz = (plane // Y) % X, plane % Y, row % Z
    sample = plane // (Y * X) * X2
    value = tl.zeros((BLOCK_ROWS, BLOCK_C), tl.float32)
    for dx in range(0, 1 if FLAT else 6):
        ox = ix if FLAT else 2 * ix - 2 + dx
        wx = _taken(ox, ix, rx, X, X2)
        for dy in range(0, 6):
            oy = 2 * iy - 2 + dy
            wxy = wx * _taken(oy, iy, ry, Y, Y2)
            for dz in range(0, 6):
                oz = 2 * iz - 2 + dz
                share = (wxy * _taken(oz, iz, rz, Z, Z2))[:, None]
                voxel = (((sample + ox) * Y2 + oy) * Z2 + oz)[:, None]
                value += share * tl.load(
                    gradient + voxel * C + channel, mask=inside & (share != 0), other=0
                ).to(tl.float32)
    tl.store(out + row[:, None] * C + channel, value.to(out.dtype.element_ty), mask=inside)


class _Doubled(torch.autograd.Function):
    """Bi- or trilinear interpolation of a channels-last x (B, C, *S), corners aligned."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.shape = x.shape
        shape = (*x.shape[:2], *(2 * side for side in x.shape[2:]))
        y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout(x))
        rows, channels, tile = tiles(y)
        with torch.cuda.device_of(x):
            _interpolate[grid(y)](x, y, *_axes(x, y), rows, channels, **tile)
        return y

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous(memory_format=layout(gradients[0]))
        out = torch.empty(
            context.shape,
            dtype=gradient.dtype,
            device=gradient.device,
            memory_format=layout(gradient),
        )
        rows, channels, tile = tiles(out)
        with torch.cuda.device_of(gradient):
            _interpolation_gradient[grid(out)](
                gradient, out, *_axes(out, gradient), rows, channels, FLAT=out.ndim == 4, **tile
            )
        return out


def _axes(small: Tensor, large: Tensor) -> tuple[float, ...]:
    """Return three sides of each tensor, the first 1 in 2D, and the ratios between positions."""
    flat = [1] * (5 - small.ndim)
    sides, doubled = [*flat, *small.shape[2:]], [*flat, *large.shape[2:]]
    ratios = [
        (side - 1) / (twice - 1) if twice > 1 else 0.0
        for side, twice in zip(sides, doubled, strict=True)
    ]
    return (*sides, *doubled, *ratios)


def doubled(x: Tensor) -> Tensor:
    """Return x (B, C, *S) interpolated linearly to twice its sides, corners aligned.

    In 2D or 3D. The result has x's type; sums are float32.
    """
    result: Tensor = _Doubled.apply(x.contiguous(memory_format=layout(x)))
    return result
