"""The V-Net equals the official one, keeps memory layouts, and survives the CPU's bf16 trap."""

from functools import cache

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.helpers import golden_numbers as golden
from torch import Tensor

from crossview.networks.official import from_official_vnet
from crossview.networks.vnet import VNet

UPSAMPLING = ("transposed", "linear")
"""Of view 1 and view 2."""


@cache
def official_states(filters: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    constants = golden.load("cml_vnet")["c"]
    return from_official_vnet(
        golden.fill(golden.entries("cml_vnet", f"vnet_n_filters_{filters}"), constants)
    )


def official_view(filters: int, view: int) -> VNet:
    network = VNet(
        VNet.Options(filters=filters, dropout=0, upsample=UPSAMPLING[view - 1]),
        channels=1,
        classes=2,
    )
    network.load_state_dict(official_states(filters)[view - 1])
    return network


@pytest.mark.parametrize("shape", [0, 1])
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("view", [1, 2])
@pytest.mark.parametrize("filters", [4, 16])
def test_equals_the_official_network(filters: int, shape: int, mode: str, view: int) -> None:
    numbers = golden.load("cml_vnet")
    image = golden.inputs(numbers["shapes"][shape], numbers["d"])
    network = official_view(filters, view).train(mode == "train")
    with torch.no_grad():
        single, double = network(image), network.double()(image.double())

    name = f"f{filters}_s{shape}_{mode}"
    tolerance, step = (2e-5 if mode == "eval" else 2e-4), (7 if name == "f4_s0_eval" else 61)
    assert (
        golden.largest_difference(single.logits.flatten()[::step], numbers[f"{name}_logits{view}"])
        < tolerance
    )
    assert (
        golden.largest_difference(single.bottleneck.flatten()[::3], numbers[f"{name}_feat{view}"])
        < tolerance
    )
    for output, precision in ((double, 1e-9), (single, 1e-5 if mode == "eval" else 1e-4)):
        for found, key in ((output.logits, "logits"), (output.bottleneck, "feat")):
            expected = numbers[f"{name}_{key}{view}_sums"]
            np.testing.assert_allclose(
                golden.sums(found), expected, rtol=0, atol=precision * expected[1]
            )


@pytest.mark.parametrize("filters", [4, 16])
def test_number_of_parameters(filters: int) -> None:
    count = sum(
        parameter.numel()
        for view in (1, 2)
        for parameter in official_view(filters, view).parameters()
    )
    assert count == golden.load("cml_vnet")[f"f{filters}_params"]


@pytest.mark.parametrize("upsample", UPSAMPLING)
@pytest.mark.parametrize("levels", [2, 3, 4, 6])
def test_other_levels_channels_and_classes(levels: int, upsample: str) -> None:
    network = VNet(VNet.Options(filters=2, levels=levels, upsample=upsample), channels=3, classes=5)
    side = 2 ** (levels - 1)
    output = network(torch.randn(2, 3, side, 2 * side, side))
    assert output.logits.shape == (2, 5, side, 2 * side, side)
    assert output.bottleneck.shape == (2, 2 * side, 1, 2, 1)
    assert output.decoder.shape == (2, 2, side, 2 * side, side)


def test_dropout_takes_whole_channels_of_the_bottleneck_and_only_in_training() -> None:
    network = VNet(VNet.Options(filters=4, levels=3, dropout=0.5), channels=1, classes=2)
    image = torch.randn(2, 1, 16, 16, 16)
    dropped = network(image).bottleneck.flatten(2).eq(0).all(2)
    assert 0.1 < dropped.float().mean() < 0.9
    assert not torch.equal(network(image).logits, network(image).logits)
    network.eval()
    assert torch.equal(network(image).logits, network(image).logits)


@pytest.mark.parametrize("upsample", UPSAMPLING)
def test_keeps_channels_last(upsample: str) -> None:
    network = VNet(VNet.Options(filters=4, levels=3, upsample=upsample), 2, 3).to(
        memory_format=torch.channels_last_3d
    )
    output = network(torch.randn(2, 2, 16, 16, 16).to(memory_format=torch.channels_last_3d))
    for tensor in (
        output.bottleneck,
        output.decoder,
    ):  # on one CPU thread torch's 1x1x1 convolution returns channels first
        assert tensor.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("upsample", UPSAMPLING)
def test_small_patch_trains_in_bfloat16_on_the_cpu(upsample: str) -> None:
    torch.manual_seed(0)
    network = VNet(VNet.Options(filters=4, levels=5, dropout=0, upsample=upsample), 1, 2)
    image = torch.randn(2, 1, 32, 48, 32)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(image)
    output.logits.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert max(parameter.grad.abs().max() for parameter in network.parameters()) < 100


@pytest.mark.parametrize(
    "wrong",
    [
        {"filters": 0},
        {"levels": 1},
        {"dropout": 1},
        {"upsample": "cubic"},
        {"depth": 5},
        {"name": "unet"},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        VNet.Options(**wrong)
