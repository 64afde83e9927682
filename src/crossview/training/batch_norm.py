"""Batch norm with the statistics of the whole batch when several processes share it.

torch's own ``SyncBatchNorm`` is used on CUDA, but refuses the CPU (torch 2.13). The one here uses
plain tensor operations on sums over all processes, in any floating type, for rehearsals and tests
on the CPU. Both have the parameters and buffers of batch norm, so a checkpoint is the same with one
process and with several.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _MeanOverRanks(torch.autograd.Function):
    """Mean over ranks: y_r = mean over q of x_q.

    Each rank's loss is a function of its own y_r; the gradient of their sum is mean over q of dy_q.
    """

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        return _mean_over_ranks(value)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return _mean_over_ranks(gradients[0])


def _mean_over_ranks(value: Tensor) -> Tensor:
    total = value.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total / dist.get_world_size()


class SharedBatchNorm(_BatchNorm):
    """Batch norm of x (B, C, *S) by mean and variance over the equal batches of all processes.

    In evaluation mode a process is alone.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        every, shape = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
        mean: Tensor = _MeanOverRanks.apply(x.mean(every))  # type: ignore[no-untyped-call]
        centred = x - mean.view(shape)
        variance: Tensor = _MeanOverRanks.apply(centred.square().mean(every))  # type: ignore[no-untyped-call]
        if self.track_running_stats:
            self._remember(
                mean.detach(), variance.detach(), x.numel() // x.shape[1] * dist.get_world_size()
            )
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale.view(shape) + self.bias.view(shape)).to(input.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics as torch does, with the unbiased variance."""
        if (
            self.running_mean is None
            or self.running_var is None
            or self.num_batches_tracked is None
        ):
            return
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(
            (variance * (count / max(1, count - 1))).to(self.running_var.dtype), momentum
        )

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of spatial axes."""


def share_batch_norm(module: nn.Module, device: torch.device) -> None:
    """Replace every batch norm in ``module`` with one over all processes; keep its tensors."""
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, _shared(child))
        else:
            share_batch_norm(child, device)


def _shared(plain: _BatchNorm) -> SharedBatchNorm:
    made = SharedBatchNorm(
        plain.num_features,
        plain.eps,
        plain.momentum,
        plain.affine,
        plain.track_running_stats,
        device="meta",
    )
    made.weight, made.bias, made.training = plain.weight, plain.bias, plain.training
    made.running_mean, made.running_var, made.num_batches_tracked = (
        plain.running_mean,
        plain.running_var,
        plain.num_batches_tracked,
    )
    return made
