"""Batch norm with activation of channels-last tensors: forward reads the memory twice, writes once.

Arithmetic is float32 for every type of tensor. The bias of a convolution before a batch norm
cancels in training and only moves the running mean. So it is not added and subtracted again, and
its gradient is exactly zero, not a rounding error. All sums are taken in a fixed order, so results
are reproducible.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from crossview.kernels.tiles import grid, layout, shares, tiles

PROGRAMS = 512
"""Largest number of programs of a reduction: about four per multiprocessor of a large GPU."""


PARTS, CHANNELS = tl.constexpr(64), tl.constexpr(16)
"""Tile in which partial sums are added up."""


@triton.jit
def _partial_moments(
    x, means, squares, rows, share, C, BLOCK_ROWS: tl.constexpr, BLOCK_C: tl.constexpr
):
    """Compute each channel's mean and sum of squared deviations over this program's rows.

    Updating formulas of Chan et al., 1979.
    """
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = channel < C
    first = tl.program_id(0) * share
    last = tl.minimum(first + share, rows)
    count = 0.0
    mean = tl.zeros((BLOCK_C,), tl.float32)
    square = tl.zeros((BLOCK_C,), tl.float32)
    for start in range(first, last, BLOCK_ROWS):
        row = start + tl.arange(0, BLOCK_ROWS)
        here = (row < last)[:, None]
        value = tl.load(
            x + row[:, None] * C + channel[None, :], mask=here & inside[None, :], other=0
        ).to(tl.float32)
        more = tl.minimum(last - start, BLOCK_ROWS).to(tl.float32)
        centre = tl.sum(value, 0) / more
        difference = tl.where(here, value - centre[None, :], 0)
        step = centre - mean
        mean += step * (more / (count + more))
        square += tl.sum(difference * difference, 0) + step * step * (count * more / (count + more))
        count += more
    tl.store(means + tl.program_id(0) * C + channel, mean, mask=inside)
    tl.store(squares + tl.program_id(0) * C + channel, square, mask=inside)


@triton.jit
def _moments(
    means, squares, offset, running_mean, running_var, mean_out, inverse_out, rows, share, parts,
    momentum, epsilon, C,
):  # fmt: skip
    """Combine all programs' moments to mean and 1 / deviation; update the running statistics.

    offset: the bias that has not been added to the input, and is missing in the mean.
    """
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channel < C
    mean = tl.zeros((CHANNELS,), tl.float32)
    for start in range(0, parts, PARTS):
        part = start + tl.arange(0, PARTS)
        at, here = part[:, None] * C + channel[None, :], (part < parts)[:, None] & inside[None, :]
        count = tl.where(part < parts, tl.minimum(rows - part * share, share), 0).to(tl.float32)
        mean += tl.sum(tl.load(means + at, mask=here, other=0) * count[:, None], 0)
    mean = mean / rows
    square = tl.zeros((CHANNELS,), tl.float32)
    for start in range(0, parts, PARTS):
        part = start + tl.arange(0, PARTS)
        at, here = part[:, None] * C + channel[None, :], (part < parts)[:, None] & inside[None, :]
        count = tl.where(part < parts, tl.minimum(rows - part * share, share), 0).to(tl.float32)
        difference = tl.load(means + at, mask=here, other=0) - mean[None, :]
        own = tl.load(squares + at, mask=here, other=0)
        square += tl.sum(own + count[:, None] * difference * difference, 0)
    tl.store(mean_out + channel, mean, mask=inside)
    tl.store(inverse_out + channel, 1 / tl.sqrt(square / rows + epsilon), mask=inside)
    seen = mean + tl.load(offset + channel, mask=inside, other=0)
    before = tl.load(running_mean + channel, mask=inside, other=0)
    tl.store(running_mean + channel, before + momentum * (seen - before), mask=inside)
    before = tl.load(running_var + channel, mask=inside, other=0)
    tl.store(running_var + channel, before + momentum * (square / (rows - 1) - before), mask=inside)


@triton.jit
def _remembered(offset, running_mean, running_var, mean_out, inverse_out, epsilon, C):
    """Compute mean and 1 / deviation from the running statistics, for an input without its bias."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channel < C
    mean = tl.load(running_mean + channel, mask=inside, other=0)
    bias = tl.load(offset + channel, mask=inside, other=0)
    tl.store(mean_out + channel, mean - bias, mask=inside)
    variance = tl.load(running_var + channel, mask=inside, other=1)
    tl.store(inverse_out + channel, 1 / tl.sqrt(variance + epsilon), mask=inside)


@triton.jit
def _of_channel(mean, inverse, weight, bias, channel, inside):
    return (
        tl.load(mean + channel, mask=inside, other=0),
        tl.load(inverse + channel, mask=inside, other=0),
        tl.load(weight + channel, mask=inside, other=0),
        tl.load(bias + channel, mask=inside, other=0),
    )


@triton.jit
def _normalise(
    x, y, mean, inverse, weight, bias, slope, rows, C,
    BLOCK_ROWS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Write the activation of the normalised input."""
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = channel < C
    centre, scale, factor, shift = _of_channel(mean, inverse, weight, bias, channel, inside)
    scale = scale * factor
    row = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    at = row[:, None] * C + channel[None, :]
    there = (row < rows)[:, None] & inside[None, :]
    value = tl.load(x + at, mask=there, other=0).to(tl.float32) - centre[None, :]
    value = value * scale[None, :] + shift[None, :]
    tl.store(y + at, tl.where(value > 0, value, value * slope).to(y.dtype.element_ty), mask=there)


@triton.jit
def _gradient_of_value(x, gradient, at, there, centre, inverse, weight, shift, slope):
    """Return the normalised input, and the gradient before the activation."""
    hat = (tl.load(x + at, mask=there, other=0).to(tl.float32) - centre[None, :]) * inverse[None, :]
    value = hat * weight[None, :] + shift[None, :]
    inner = tl.load(gradient + at, mask=there, other=0).to(tl.float32)
    return hat, tl.where(value > 0, inner, inner * slope)


@triton.jit
def _partial_gradients(
    x, gradient, mean, inverse, weight, bias, sums, products, slope, rows, share, C,
    BLOCK_ROWS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Sum the gradient and its product with the normalised input over this program's rows."""
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = channel < C
    centre, scale, factor, shift = _of_channel(mean, inverse, weight, bias, channel, inside)
    first = tl.program_id(0) * share
    last = tl.minimum(first + share, rows)
    total = tl.zeros((BLOCK_C,), tl.float32)
    product = tl.zeros((BLOCK_C,), tl.float32)
    for start in range(first, last, BLOCK_ROWS):
        row = start + tl.arange(0, BLOCK_ROWS)
        there = (row < last)[:, None] & inside[None, :]
        at = row[:, None] * C + channel[None, :]
        hat, inner = _gradient_of_value(x, gradient, at, there, centre, scale, factor, shift, slope)
        total += tl.sum(inner, 0)
        product += tl.sum(inner * hat, 0)
    tl.store(sums + tl.program_id(0) * C + channel, total, mask=inside)
    tl.store(products + tl.program_id(0) * C + channel, product, mask=inside)


@triton.jit
def _gradients(sums, products, of_bias, of_weight, of_offset, parts, C):
    """Add up all programs' sums; the gradient of the bias before the batch norm is zero."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channel < C
    total = tl.zeros((CHANNELS,), tl.float32)
    product = tl.zeros((CHANNELS,), tl.float32)
    for start in range(0, parts, PARTS):
        part = start + tl.arange(0, PARTS)
        at, here = part[:, None] * C + channel[None, :], (part < parts)[:, None] & inside[None, :]
        total += tl.sum(tl.load(sums + at, mask=here, other=0), 0)
        product += tl.sum(tl.load(products + at, mask=here, other=0), 0)
    tl.store(of_bias + channel, total, mask=inside)
    tl.store(of_weight + channel, product, mask=inside)
    tl.store(of_offset + channel, tl.zeros((CHANNELS,), tl.float32), mask=inside)


@triton.jit
def _gradient(
    x, gradient, out, mean, inverse, weight, bias, of_bias, of_weight, slope, rows, C,
    BLOCK_ROWS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Write the gradient of the input from the sums over all rows."""
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = channel < C
    centre, scale, factor, shift = _of_channel(mean, inverse, weight, bias, channel, inside)
    total = tl.load(of_bias + channel, mask=inside, other=0) / rows
    product = tl.load(of_weight + channel, mask=inside, other=0) / rows
    row = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    at = row[:, None] * C + channel[None, :]
    there = (row < rows)[:, None] & inside[None, :]
    hat, inner = _gradient_of_value(x, gradient, at, there, centre, scale, factor, shift, slope)
    value = (scale * factor)[None, :] * (inner - total[None, :] - hat * product[None, :])
    tl.store(out + at, value.to(out.dtype.element_ty), mask=there)


class _NormActivation(torch.autograd.Function):
    """Function activation(batch norm(x + offset)) of a channels-last x (B, C, *S).

    offset (C,) is a bias. The running statistics are updated.
    """

    @staticmethod
    def forward(
        context: Any,
        x: Tensor,
        offset: Tensor,
        weight: Tensor,
        bias: Tensor,
        norm: Any,
        slope: float,
    ) -> Tensor:
        rows, channels, tile = tiles(x)
        running = (norm.running_mean, norm.running_var)
        mean, inverse = torch.empty((2, channels), dtype=torch.float32, device=x.device)
        blocks = (triton.cdiv(channels, CHANNELS.value),)
        all_tiles = grid(x)
        with torch.cuda.device_of(x):
            if norm.training:
                share, parts = shares(rows, tile["BLOCK_ROWS"], PROGRAMS)
                means, squares = torch.empty(
                    (2, parts, channels), dtype=torch.float32, device=x.device
                )
                _partial_moments[(parts, all_tiles[1])](
                    x, means, squares, rows, share, channels, **tile
                )
                sizes = (rows, share, parts, norm.momentum, norm.eps, channels)
                _moments[blocks](means, squares, offset, *running, mean, inverse, *sizes)
            else:
                _remembered[blocks](offset, *running, mean, inverse, norm.eps, channels)
            y = torch.empty_like(x)
            _normalise[all_tiles](x, y, mean, inverse, weight, bias, slope, rows, channels, **tile)
        context.save_for_backward(x, weight, bias, mean, inverse)
        context.slope = slope
        return y

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> Any:
        x, weight, bias, mean, inverse = context.saved_tensors
        gradient = gradients[0].contiguous(memory_format=layout(x))
        rows, channels, tile = tiles(x)
        share, parts = shares(rows, tile["BLOCK_ROWS"], PROGRAMS)
        all_tiles = grid(x)
        sums, products = torch.empty((2, parts, channels), dtype=torch.float32, device=x.device)
        of_bias, of_weight, of_offset = torch.empty(
            (3, channels), dtype=torch.float32, device=x.device
        )
        out = torch.empty_like(x)
        known = (mean, inverse, weight, bias)
        with torch.cuda.device_of(x):
            _partial_gradients[(parts, all_tiles[1])](
                x, gradient, *known, sums, products, context.slope, rows, share, channels, **tile
            )
            _gradients[(triton.cdiv(channels, CHANNELS.value),)](
                sums, products, of_bias, of_weight, of_offset, parts, channels
            )
            _gradient[all_tiles](
                x, gradient, out, *known, of_bias, of_weight, context.slope, rows, channels, **tile
            )
        return out, of_offset, of_weight, of_bias, None, None


def norm_activation(x: Tensor, offset: Tensor, norm: nn.Module, slope: float) -> Tensor:
    """Return leaky_relu(norm(x + offset), slope).

    In training mode the statistics are the batch's, and the running ones are updated. In evaluation
    mode they are the running ones, and there is no gradient.

    Args:
        x: Output of a convolution without its bias, (B, C, *S).
        offset: That bias, (C,).
        norm: Batch norm with running statistics.
        slope: Slope below 0; 0 for ReLU.
    """
    own: Any = norm
    if own.training:
        own.num_batches_tracked.add_(1)
    x = x.contiguous(memory_format=layout(x))
    result: Tensor = _NormActivation.apply(x, offset, own.weight, own.bias, norm, slope)
    return result
