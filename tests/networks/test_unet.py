"""The U-Net equals the official one for every upsampling, and keeps memory layouts."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.helpers import golden_numbers as golden

from crossview.networks.official import official_unet_keys
from crossview.networks.unet import UNet

UPSAMPLING = ("transposed", "linear", "nearest", "cubic")
"""Of the official up types 0 to 3."""


def official_pair(up_type: int) -> UNet:
    numbers = golden.load("cml_unet")
    official = golden.fill(golden.entries("cml_unet", f"encoder_decoder_up{up_type}"), numbers["c"])
    keys = official_unet_keys("encoder", "decoder", transposed=up_type == 0)
    network = UNet(UNet.Options(dropout=0, upsample=UPSAMPLING[up_type]), channels=1, classes=4)
    network.load_state_dict({keys[name]: tensor for name, tensor in official.items()})
    return network


@pytest.mark.parametrize("up_type", [0, 1, 2, 3])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_equals_the_official_network(up_type: int, mode: str) -> None:
    numbers = golden.load("cml_unet")
    image = golden.inputs(numbers["shape"], numbers["d"])
    network = official_pair(up_type).train(mode == "train")
    with torch.no_grad():
        single, double = network(image), network.double()(image.double())

    tolerance = 2e-5 if mode == "eval" else 2e-4
    assert (
        golden.largest_difference(
            single.logits.flatten()[::17], numbers[f"up{up_type}_{mode}_logits"]
        )
        < tolerance
    )
    assert (
        golden.largest_difference(single.bottleneck.flatten()[::11], numbers[f"{mode}_feat"])
        < tolerance
    )
    for output, precision in ((double, 1e-9), (single, 1e-5 if mode == "eval" else 1e-4)):
        for found, key in (
            (output.logits, f"up{up_type}_{mode}_logits"),
            (output.bottleneck, f"{mode}_feat"),
        ):
            expected = numbers[f"{key}_sums"]
            np.testing.assert_allclose(
                golden.sums(found), expected, rtol=0, atol=precision * expected[1]
            )


@pytest.mark.parametrize("up_type", [0, 1, 2, 3])
def test_number_of_parameters(up_type: int) -> None:
    count = sum(parameter.numel() for parameter in official_pair(up_type).parameters())
    assert count == golden.load("cml_unet")[f"up{up_type}_params"]


@pytest.mark.parametrize("upsample", UPSAMPLING)
@pytest.mark.parametrize("levels", [2, 4])
def test_other_levels_channels_and_classes(levels: int, upsample: str) -> None:
    network = UNet(
        UNet.Options(filters=4, levels=levels, dropout=0.1, upsample=upsample),
        channels=3,
        classes=5,
    )
    side = 2 ** (levels - 1)
    output = network(torch.randn(2, 3, side, 2 * side))
    assert output.logits.shape == (2, 5, side, 2 * side)
    assert output.bottleneck.shape == (2, 4 * side, 1, 2)
    assert output.decoder.shape == (2, 4, side, 2 * side)


def test_dropout_acts_only_in_training() -> None:
    network = UNet(UNet.Options(filters=4), channels=1, classes=2)
    image = torch.randn(2, 1, 32, 32)
    assert not torch.equal(network(image).logits, network(image).logits)
    network.eval()
    assert torch.equal(network(image).logits, network(image).logits)


@pytest.mark.parametrize("upsample", UPSAMPLING)
def test_keeps_channels_last(upsample: str) -> None:
    network = UNet(UNet.Options(filters=4, levels=3, dropout=0.1, upsample=upsample), 2, 3).to(
        memory_format=torch.channels_last
    )
    output = network(torch.randn(2, 2, 16, 16).to(memory_format=torch.channels_last))
    for tensor in (output.logits, output.bottleneck, output.decoder):
        assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_one_number_is_the_dropout_of_every_level() -> None:
    network = UNet(UNet.Options(filters=2, levels=3, dropout=0.25), 1, 2)
    assert [block.dropout for block in network.encoder] == [0.25] * 3
    assert [block.dropout for block in network.decoder] == [0.0] * 2


def test_dropout_needs_one_probability_per_level() -> None:
    with pytest.raises(ValidationError, match="dropout has 2 entries and the network 4 levels"):
        UNet.Options(levels=4, dropout=(0.1, 0.2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"filters": 0},
        {"levels": 1},
        {"dropout": 1.5},
        {"upsample": "trilinear"},
        {"depth": 5},
        {"name": "vnet"},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        UNet.Options(**wrong)
