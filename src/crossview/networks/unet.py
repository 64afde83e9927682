"""U-Net: one encoder and one decoder for 2D images.

O. Ronneberger, P. Fischer, T. Brox. U-Net: Convolutional Networks for Biomedical Image
Segmentation. MICCAI 2015. This is the form of the semi-supervised papers: batch norm, leaky ReLU,
dropout that grows with depth in the encoder, and a 3x3 convolution at the end. CML's first view
upsamples bilinearly, its second by transposed convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from crossview.core.tensors import Output
from crossview.networks.dropout import dropout
from crossview.networks.layers import Interpolation, normalised, resize, upsample
from crossview.networks.options import NetworkOptions

SLOPE = 0.01
"""Slope of the leaky ReLU for negative input."""


Probability = Annotated[float, Field(ge=0, lt=1)]


class UNetOptions(NetworkOptions):
    """Keys of [network] for the U-Net."""

    name: Literal["unet"] = "unet"
    dropout: Probability | tuple[Probability, ...] = Field(
        (0.05, 0.1, 0.2, 0.3, 0.5),
        validate_default=True,
        description="one probability per encoder level, full resolution first, or one for all; "
        "the decoder has no dropout",
    )
    upsample: Literal["transposed", "linear", "nearest", "cubic"] = Field(
        "transposed",
        description="transposed: 2x2 convolution; others: 1x1 convolution, then interpolation "
        "(corners aligned, except for nearest)",
    )

    @field_validator("dropout")
    @classmethod
    def _one_probability_per_level(
        cls, dropout: float | tuple[float, ...], info: ValidationInfo
    ) -> float | tuple[float, ...]:
        levels = info.data.get("levels")
        if isinstance(dropout, tuple) and levels is not None and len(dropout) != levels:
            raise ValueError(
                f"dropout has {len(dropout)} entries and the network {levels} levels: "
                "give one probability per level, or a single number for all"
            )
        return dropout

    @property
    def probabilities(self) -> tuple[float, ...]:
        """Return the dropout of each encoder level, full resolution first."""
        return self.dropout if isinstance(self.dropout, tuple) else (self.dropout,) * self.levels


class Block(nn.Module):
    """Two times 3x3 convolution, batch norm, leaky ReLU; dropout in between."""

    def __init__(self, inputs: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.convolution1 = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.convolution2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, image: Tensor) -> Tensor:
        features = dropout(
            normalised(image, self.convolution1, self.norm1, SLOPE), self.dropout, self.training
        )
        return normalised(features, self.convolution2, self.norm2, SLOPE)


class InterpolatedUp(nn.Module):
    """Upsampling: half the width by 1x1 convolution, then twice the sides by interpolation."""

    def __init__(self, inputs: int, interpolation: Interpolation) -> None:
        super().__init__()
        self.interpolation: Interpolation = interpolation
        self.convolution = nn.Conv2d(inputs, inputs // 2, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        return upsample(self.convolution(image), self.interpolation)


class TransposedUp(nn.Module):
    """Upsampling: twice the sides, half the width, by transposed 2x2 convolution of stride 2."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(inputs, inputs // 2, kernel_size=2, stride=2)

    def forward(self, image: Tensor) -> Tensor:
        return self.convolution(image)  # type: ignore[no-any-return]


def noisy_features(features: Tensor) -> Tensor:
    """Return features times 1 + u, u uniform in [-0.3, 0.3), the same u for all samples."""
    return features * (1 + torch.empty_like(features[:1]).uniform_(-0.3, 0.3))


def without_strongest(features: Tensor) -> Tensor:
    """Set to zero the positions whose mean over channels reaches a share of the sample's largest.

    The share is drawn once per call, from 0.7 to 0.9.
    """
    attention = features.mean(1, keepdim=True)
    share = torch.empty((), device=features.device).uniform_(0.7, 0.9)
    return features * (attention < share * attention.amax((1, 2, 3), keepdim=True))


PERTURBATIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    noisy_features,
    without_strongest,
    F.dropout,
)
"""Perturbations of the auxiliary heads' input in training, finest level first; dropout is 0.5.

As in URPC (Luo et al., MICCAI 2021).
"""


class UNet(nn.Module):
    """U-Net for images (B, channels, H, W) whose sides are multiples of 2^(levels-1).

    Its auxiliary heads are 3x3 convolutions on the ``scales`` next coarser levels, fewer if there
    are fewer levels, resized to the nearest pixel. In training they see perturbed features.
    """

    Options: ClassVar[type[UNetOptions]] = UNetOptions
    dimensions: ClassVar[int] = 2

    def __init__(self, options: UNetOptions, channels: int, classes: int, scales: int = 0) -> None:
        super().__init__()
        self.options = options
        widths = options.widths
        inputs = [channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            Block(*level) for level in zip(inputs, widths, options.probabilities, strict=True)
        )
        self.up = nn.ModuleList(
            TransposedUp(width)
            if options.upsample == "transposed"
            else InterpolatedUp(width, options.upsample)
            for width in reversed(widths[1:])
        )
        self.decoder = nn.ModuleList(Block(2 * width, width) for width in reversed(widths[:-1]))
        self.last = nn.Conv2d(options.filters, classes, kernel_size=3, padding=1)
        self.heads = nn.ModuleList(
            nn.Conv2d(width, classes, kernel_size=3, padding=1) for width in widths[1 : scales + 1]
        )

    def forward(self, image: Tensor) -> Output:
        skips: list[Tensor] = []
        features = image
        for level, encoder in enumerate(self.encoder):
            features = encoder(F.max_pool2d(features, 2) if level else features)
            skips.append(features)
        bottleneck = skips.pop()
        coarser: list[Tensor] = []
        for up, decoder in zip(self.up, self.decoder, strict=True):
            coarser.insert(0, features)
            features = decoder(torch.cat([skips.pop(), up(features)], dim=1))
        if self.training:
            coarser = [
                perturb(level)
                for perturb, level in zip(PERTURBATIONS, coarser[: len(self.heads)], strict=False)
            ]
        scales = tuple(
            resize(head(level), image.shape[2:], "nearest")
            for head, level in zip(self.heads, coarser, strict=False)
        )
        return Output(self.last(features), bottleneck, features, scales)
