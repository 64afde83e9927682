"""Virtual adversarial training: the small change of an image that changes a prediction most.

T. Miyato, S. Maeda, M. Koyama, S. Ishii. Virtual Adversarial Training. IEEE TPAMI 41(8), 2019,
arXiv 1704.03976.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Divergence = Callable[[Tensor, Tensor], Tensor]


def uniform_noise(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return uniform noise in [-0.5, 0.5) with the image's shape, type and device."""
    return (
        torch.rand(image.shape, generator=generator, device=image.device, dtype=image.dtype) - 0.5
    )


def adversarial_direction(
    predict: Callable[[Tensor], Tensor],
    image: Tensor,
    divergence: Divergence,
    target: Tensor,
    noise: Tensor,
    probe: float,
) -> Tensor:
    """Return d, the direction of the gradient of D(p(x + probe r), target) with respect to r.

    One power iteration. The gradients of the weights are neither read nor added to.

    Args:
        predict: Function from images to class probabilities p.
        image: x, (B, C, *S).
        divergence: D of two class probabilities, a scalar.
        target: Class probabilities (B, K, *S).
        noise: r before it is scaled to unit length per sample, (B, C, *S).
        probe: Length of the step along r.

    Returns:
        d, of unit length per sample, (B, C, *S).
    """
    r = unit(noise).requires_grad_()
    (gradient,) = torch.autograd.grad(divergence(predict(image + probe * r), target), r)
    return unit(gradient)


def unit(tensor: Tensor) -> Tensor:
    """Return each sample of a tensor (B, ...) divided by its L2 norm + 1e-8."""
    norm: Tensor = tensor.flatten(1).norm(dim=1) + 1e-8
    return tensor / norm.view(-1, *[1] * (tensor.ndim - 1))


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep batch norm from updating its running statistics; it still normalises by the batch."""
    layers = [
        layer
        for layer in module.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
