"""V-Net: one encoder and one decoder for 3D images.

F. Milletari, N. Navab, S.-A. Ahmadi. V-Net: Fully Convolutional Neural Networks for Volumetric
Medical Image Segmentation. 3DV 2016. This is the plain form of the semi-supervised papers: every
convolution is followed by batch norm and ReLU, stages have no residual, and skips are added. CML's
first view upsamples by transposed convolution, its second by interpolation.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from crossview.core.tensors import Output
from crossview.networks.dropout import channel_dropout
from crossview.networks.layers import Convolution, normalised, resize, upsample
from crossview.networks.options import NetworkOptions
from crossview.networks.safe_convolution import Convolution3d


class VNetOptions(NetworkOptions):
    """Keys of [network] for the V-Net."""

    name: Literal["vnet"] = "vnet"
    dropout: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="probability of dropping a whole channel, "
        "in the bottleneck and before the last convolution",
    )
    upsample: Literal["transposed", "linear"] = Field(
        "transposed",
        description="transposed: transposed convolution; "
        "linear: trilinear interpolation (corners aligned), then 3x3x3 convolution",
    )


class Unit(nn.Module):
    """Convolution (3x3x3 unless another is given), batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, convolution: Convolution | None = None) -> None:
        super().__init__()
        self.convolution: Convolution = convolution or Convolution3d(inputs, outputs)
        self.norm = nn.BatchNorm3d(outputs)

    def forward(self, image: Tensor) -> Tensor:
        return normalised(image, self.convolution, self.norm, slope=0.0)


class Down(Unit):
    """Downsampling: half the sides, twice the width, by 2x2x2 convolution of stride 2."""

    def __init__(self, inputs: int) -> None:
        super().__init__(inputs, 2 * inputs, nn.Conv3d(inputs, 2 * inputs, kernel_size=2, stride=2))


class TransposedUp(Unit):
    """Upsampling: twice the sides, half the width, by transposed 2x2x2 convolution of stride 2."""

    def __init__(self, inputs: int) -> None:
        super().__init__(
            inputs, inputs // 2, nn.ConvTranspose3d(inputs, inputs // 2, kernel_size=2, stride=2)
        )


class LinearUp(Unit):
    """Upsampling: trilinearly to twice the sides, then 3x3x3 convolution to half the width."""

    def __init__(self, inputs: int) -> None:
        super().__init__(inputs, inputs // 2)

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(upsample(image, "linear"))


def stage(width: int, level: int) -> nn.Sequential:
    """Return the units of one level: 1, 2, 3, 3, 3, ... from the full resolution on."""
    return nn.Sequential(*(Unit(width, width) for _ in range(min(level + 1, 3))))


class VNet(nn.Module):
    """V-Net for images (B, channels, X, Y, Z) whose sides are multiples of 2^(levels-1).

    Its auxiliary heads are 1x1x1 convolutions on the ``scales`` next coarser levels, fewer if there
    are fewer levels, resized trilinearly. They are ported from URPC's 3D U-Net (Luo et al., MICCAI
    2021), because URPC has published no V-Net.
    """

    Options: ClassVar[type[VNetOptions]] = VNetOptions
    dimensions: ClassVar[int] = 3

    def __init__(self, options: VNetOptions, channels: int, classes: int, scales: int = 0) -> None:
        super().__init__()
        self.options = options
        widths = options.widths
        up = TransposedUp if options.upsample == "transposed" else LinearUp
        self.first = Unit(channels, options.filters)
        self.down = nn.ModuleList(Down(width) for width in widths[:-1])
        self.encoder = nn.ModuleList(
            stage(width, level) for level, width in enumerate(widths) if level > 0
        )
        self.up = nn.ModuleList(up(width) for width in reversed(widths[1:]))
        self.decoder = nn.ModuleList(
            stage(widths[level], level) for level in reversed(range(options.levels - 1))
        )
        self.last = nn.Conv3d(options.filters, classes, kernel_size=1)
        self.heads = nn.ModuleList(
            nn.Conv3d(width, classes, kernel_size=1) for width in widths[1 : scales + 1]
        )

    def forward(self, image: Tensor) -> Output:
        features = self.first(image)
        skips = []
        for down, encoder in zip(self.down, self.encoder, strict=True):
            skips.append(features)
            features = encoder(down(features))
        bottleneck = features = channel_dropout(features, self.options.dropout, self.training)
        coarser: list[Tensor] = []
        for up, decoder in zip(self.up, self.decoder, strict=True):
            coarser.insert(0, features)
            features = decoder(up(features) + skips.pop())
        dropped = channel_dropout(features, self.options.dropout, self.training)
        scales = tuple(
            resize(head(level), image.shape[2:], "linear")
            for head, level in zip(self.heads, coarser, strict=False)
        )
        return Output(self.last(dropped), bottleneck, features, scales, dropped)
