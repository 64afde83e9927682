"""Convolutions that the CPU computes wrongly in bfloat16 are computed in float32.

For inputs shorter than the kernel, torch (2.13) takes the bfloat16 gradient by the weights from
uninitialised memory, on one thread for every batch, on several for batches of two and more; with a
stride it may also write past its memory. A network with a small bottleneck then trains to NaN.
Outputs, and gradients by the input, are right. Measured against float64 for sides of 1 to 8, in
both layouts: kernels of 3 and a stride of 1 fail in 3D alone, and only if the first side is 2.
Kernels of 1 and 2 never fail. Of larger kernels and strides some sides fail; all sides below the
kernel's are guarded here. Such layers have few voxels, so float32 costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = (F.conv2d, F.conv3d, F.conv_transpose2d, F.conv_transpose3d)


class SafeConvolutions(TorchFunctionMode):
    """Within this context and CPU autocast, no convolution is computed wrongly, a plugin's neither.

    A functional mode and not a layer, because plugins bring layers of their own.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call ``func``, a convolution that would fail without autocast."""
        named = dict(kwargs or {})
        if func not in CONVOLUTIONS or not _fails(*args, **named):
            return func(*args, **named)
        with torch.autocast("cpu", enabled=False):
            return func(
                *(_float32(value) for value in args),
                **{name: _float32(value) for name, value in named.items()},
            )


def _fails(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, *_: Any, **__: Any
) -> bool:
    """Return True if torch may compute the gradient of this convolution wrongly in bfloat16."""
    if not input.is_cpu or not torch.is_autocast_enabled("cpu"):
        return False
    kernel, strides = weight.shape[2:], (stride,) if isinstance(stride, int) else tuple(stride)
    sides = input.shape[-len(kernel) :]
    if max(kernel) < 3:
        return False
    if max(kernel) == 3 and max(strides) == 1:
        return len(kernel) == 3 and kernel[0] == 3 and sides[0] == 2
    return any(side < long for side, long in zip(sides, kernel, strict=True))


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


class Convolution3d(nn.Conv3d):
    """3x3x3 convolution that keeps its sides, and is safe under a caller's own autocast too."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        if not (input.is_cpu and torch.is_autocast_enabled("cpu")):
            return super().forward(input)
        with SafeConvolutions():
            return super().forward(input)
