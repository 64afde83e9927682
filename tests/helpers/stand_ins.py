"""Networks for tests of methods: one that answers with given logits, and small real ones."""

import torch
from torch import nn

from crossview.core.tensors import Output
from crossview.networks.unet import UNet


class Answers(nn.Module):
    """A network that answers with the given logits, one tensor per call, then the last one.

    ``asked`` keeps the images.

    The logits are parameters, so a loss has gradients with respect to them.
    """

    def __init__(self, *logits):
        super().__init__()
        self.logits = nn.ParameterList(torch.as_tensor(each) for each in logits)
        self.asked = []

    def forward(self, image):
        call = min(len(self.asked), len(self.logits) - 1)
        self.asked.append(image)
        logits = self.logits[call]
        return Output(logits, logits, logits)


def certain(label, classes):
    """Logits (B, K, *S) that decide for the label (B, *S)."""
    return (
        20
        * torch.nn.functional.one_hot(torch.as_tensor(label).long(), classes)
        .movedim(-1, 1)
        .double()
    )


def small_unet(classes=3, dropout=0.1):
    """A builder of U-Nets of 2 filters and 2 levels."""

    def build(upsample="linear"):
        return UNet(
            UNet.Options(filters=2, levels=2, dropout=(dropout, dropout), upsample=upsample),
            channels=1,
            classes=classes,
        )

    return build
