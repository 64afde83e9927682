"""U-Net: one encoder and one decoder for 2D images.

O. Ronneberger, P. Fischer, T. Brox. U-Net: Convolutional Networks for Biomedical Image Segmentation. MICCAI 2015. The
form of the semi-supervised papers: batch norm, leaky ReLU, dropout that grows with depth in the encoder, and a 3x3
convolution at the end. CML's first view upsamples bilinearly, its second by transposed convolution.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from torch import Tensor, nn

from crossview.networks.layers import Interpolation, upsample
from crossview.networks.network import Output

Probability = Annotated[float, Field(ge=0, lt=1)]


class UNetOptions(BaseModel):
    """Keys of [network] for the U-Net."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["unet"] = "unet"
    filters: int = Field(16, ge=1, description="width of the first level, doubled at each further one")
    levels: int = Field(5, ge=2, le=8, description="resolutions, the full one included")
    dropout: Probability | tuple[Probability, ...] = Field(
        (0.05, 0.1, 0.2, 0.3, 0.5),
        validate_default=True,
        description="one probability an encoder level, full resolution first, or one for all; the decoder has none",
    )
    upsample: Literal["transposed", "linear", "nearest", "cubic"] = Field(
        "transposed", description="transposed 2x2 convolution, or a 1x1 convolution and interpolation (corners aligned, nearest aside)"
    )

    @field_validator("dropout")
    @classmethod
    def _one_probability_per_level(cls, dropout: float | tuple[float, ...], info: ValidationInfo) -> float | tuple[float, ...]:
        levels = info.data.get("levels")
        if isinstance(dropout, tuple) and levels is not None and len(dropout) != levels:
            raise ValueError(
                f"dropout has {len(dropout)} entries and the network {levels} levels: "
                "give one probability per level, or a single number for all"
            )
        return dropout

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The dropout of each encoder level, full resolution first."""
        return self.dropout if isinstance(self.dropout, tuple) else (self.dropout,) * self.levels


class Block(nn.Module):
    """Twice: 3x3 convolution, batch norm, leaky ReLU; dropout in between."""

    def __init__(self, inputs: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.convolution1 = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.convolution2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, image: Tensor) -> Tensor:
        features = F.leaky_relu(self.norm1(self.convolution1(image)), 0.01, inplace=True)
        features = F.dropout(features, self.dropout, self.training)
        return F.leaky_relu(self.norm2(self.convolution2(features)), 0.01, inplace=True)


class InterpolatedUp(nn.Module):
    """Half the width by a 1x1 convolution, then twice the sides by interpolation."""

    def __init__(self, inputs: int, interpolation: Interpolation) -> None:
        super().__init__()
        self.interpolation: Interpolation = interpolation
        self.convolution = nn.Conv2d(inputs, inputs // 2, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        return upsample(self.convolution(image), self.interpolation)


class TransposedUp(nn.Module):
    """Twice the sides, half the width, by a 2x2 transposed convolution of stride 2."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(inputs, inputs // 2, kernel_size=2, stride=2)

    def forward(self, image: Tensor) -> Tensor:
        return self.convolution(image)  # type: ignore[no-any-return]


class UNet(nn.Module):
    """A U-Net for images (B, channels, H, W) whose sides divide by 2^(levels-1)."""

    Options: ClassVar[type[UNetOptions]] = UNetOptions
    dimensions: ClassVar[int] = 2

    def __init__(self, options: UNetOptions, channels: int, classes: int) -> None:
        super().__init__()
        self.options = options
        widths = [options.filters * 2**level for level in range(options.levels)]
        inputs = [channels, *widths[:-1]]
        self.encoder = nn.ModuleList(Block(*level) for level in zip(inputs, widths, options.probabilities, strict=True))
        self.up = nn.ModuleList(
            TransposedUp(width) if options.upsample == "transposed" else InterpolatedUp(width, options.upsample)
            for width in reversed(widths[1:])
        )
        self.decoder = nn.ModuleList(Block(2 * width, width) for width in reversed(widths[:-1]))
        self.last = nn.Conv2d(options.filters, classes, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> Output:
        skips: list[Tensor] = []
        features = image
        for level, encoder in enumerate(self.encoder):
            features = encoder(F.max_pool2d(features, 2) if level else features)
            skips.append(features)
        bottleneck = skips.pop()
        for up, decoder in zip(self.up, self.decoder, strict=True):
            features = decoder(torch.cat([skips.pop(), up(features)], dim=1))
        return Output(self.last(features), bottleneck, features)
