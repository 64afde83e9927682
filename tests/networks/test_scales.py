"""Auxiliary heads: URPC's U-Net equals the official one; networks without heads are unchanged."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.helpers import golden_numbers as golden

from crossview.networks.layers import resize, upsample_by_matrices
from crossview.networks.official import official_unet_keys
from crossview.networks.unet import PERTURBATIONS, UNet, noisy_features, without_strongest
from crossview.networks.vnet import VNet

NETWORKS = {2: UNet, 3: VNet}


def build(dimensions, scales=0, levels=3, dropout=0):
    torch.manual_seed(0)
    network = NETWORKS[dimensions]
    options = network.Options(filters=2, levels=levels, dropout=dropout)
    return network(options, channels=1, classes=3, scales=scales)


def official_urpc_unet():
    numbers = golden.load("urpc_unet")
    official = golden.fill(golden.entries("urpc_unet", "unet_urpc"), numbers["c"])
    keys = official_unet_keys("encoder", "decoder", transposed=False)
    keys |= {
        f"decoder.out_conv_dp{k + 1}.{part}": f"heads.{k}.{part}"
        for k in range(3)
        for part in ("weight", "bias")
    }
    network = UNet(UNet.Options(upsample="linear"), channels=1, classes=4, scales=3)
    unused = {name: tensor for name, tensor in official.items() if name not in keys}
    network.load_state_dict(
        {keys[name]: tensor for name, tensor in official.items() if name in keys}
    )
    return network.eval(), unused


def test_equals_the_official_network():
    numbers = golden.load("urpc_unet")
    network, _ = official_urpc_unet()
    image = golden.inputs(numbers["shape"], numbers["d"])
    with torch.no_grad():
        single, double = network(image), network.double()(image.double())
    for k in range(4):
        found, exact = ((output.logits, *output.scales)[k] for output in (single, double))
        expected = numbers[f"out{k}_sums"]
        assert golden.largest_difference(found.flatten()[::13], numbers[f"out{k}"]) < 2e-5
        np.testing.assert_allclose(golden.sums(exact), expected, rtol=0, atol=1e-9 * expected[1])
        np.testing.assert_allclose(golden.sums(found), expected, rtol=0, atol=1e-5 * expected[1])


def test_has_the_official_number_of_parameters_but_for_the_head_that_is_never_used():
    network, unused = official_urpc_unet()
    assert {name.rsplit(".", 1)[0] for name in unused} == {"decoder.out_conv_dp4"}
    ours = sum(parameter.numel() for parameter in network.parameters())
    assert (
        ours + sum(tensor.numel() for tensor in unused.values())
        == golden.load("urpc_unet")["params"]
    )


@pytest.mark.parametrize(("levels", "scales"), list(itertools.product((2, 3, 5), (1, 3))))
@pytest.mark.parametrize("dimensions", NETWORKS)
def test_scales_have_the_image_s_size(dimensions, levels, scales):
    network = build(dimensions, levels=levels, scales=scales)
    size = (32, 16, 16)[:dimensions]
    output = network(torch.randn(2, 1, *size))
    assert len(output.scales) == len(network.heads) == min(scales, levels - 1)
    assert all(logits.shape == output.logits.shape == (2, 3, *size) for logits in output.scales)


@pytest.mark.parametrize("dimensions", NETWORKS)
def test_scales_come_finer_to_coarser(dimensions):
    """Logits of a head, resized to the nearest, are constant within a coarse voxel."""
    network = build(dimensions, levels=4, scales=3).eval()
    output = network(torch.randn(1, 1, *(16,) * dimensions))
    widths = [head.in_channels for head in network.heads]
    assert widths == [4, 8, 16]
    if dimensions == 2:
        for k, logits in enumerate(output.scales, 1):
            coarse = F.avg_pool2d(logits, 2**k)
            torch.testing.assert_close(
                logits, F.interpolate(coarse, scale_factor=2**k, mode="nearest")
            )


@pytest.mark.parametrize("dimensions", NETWORKS)
def test_heads_change_nothing_else(dimensions):
    plain, pyramid = (build(dimensions, scales=scales).eval() for scales in (0, 3))
    assert not [name for name in plain.state_dict() if name.startswith("heads")]
    state = pyramid.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())
    image = torch.randn(2, 1, *(16,) * dimensions)
    for found, expected in zip(
        (pyramid(image), pyramid.train()(image)), (plain(image), plain.train()(image)), strict=True
    ):
        for part in ("logits", "bottleneck", "decoder"):
            assert torch.equal(getattr(found, part), getattr(expected, part))
    assert plain(image).scales == ()


@pytest.mark.parametrize("dimensions", NETWORKS)
def test_heads_are_no_key_of_the_recipe(dimensions):
    assert "scales" not in NETWORKS[dimensions].Options.model_fields


def test_the_u_net_s_heads_see_perturbed_features_in_training_only():
    network = build(2, levels=4, scales=3)
    image = torch.randn(2, 1, 64, 64)
    (first, again) = (network(image) for _ in range(2))
    assert torch.equal(first.logits, again.logits)
    assert all(not torch.equal(a, b) for a, b in zip(first.scales, again.scales, strict=True))
    network.eval()
    assert all(
        torch.equal(a, b) for a, b in zip(network(image).scales, network(image).scales, strict=True)
    )


def test_noise_is_a_share_of_each_feature_and_the_same_for_every_sample():
    torch.manual_seed(0)
    features = torch.randn(3, 4, 20, 20)
    factor = noisy_features(features) / features
    assert 0.7 - 1e-4 < factor.min() < 0.75
    assert 1.25 < factor.max() < 1.3 + 1e-4
    torch.testing.assert_close(factor[0], factor[2], rtol=1e-3, atol=1e-3)


def test_the_strongest_positions_are_dropped():
    torch.manual_seed(0)
    features = torch.zeros(2, 4, 1, 11)
    features[0] = torch.arange(11) / 10
    features[1] = torch.arange(11) * 7
    shares = set()
    for _ in range(50):
        kept = without_strongest(features).ne(0).all(1)[:, 0]
        assert torch.equal(kept[0], kept[1])
        assert not kept[:, 9:].any()
        assert kept[:, 1:7].all()
        shares.add(int(kept[0].sum()))
    assert len(shares) > 1


def test_dropout_of_one_half_on_the_coarsest():
    torch.manual_seed(0)
    dropped = PERTURBATIONS[2](torch.ones(2, 8, 32, 32))
    assert dropped.unique().tolist() == [0, 2]
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("sides", [(5, 7), (4, 3, 6)])
def test_matrices_resize_as_torch_does(sides):
    torch.manual_seed(0)
    image = torch.randn(2, 3, *sides, dtype=torch.float64, requires_grad=True)
    size = [4 * side for side in sides]
    expected, found = (
        resize(image, size, "linear"),
        upsample_by_matrices(image, "linear", size, align_corners=False),
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(expected)
    gradients = [torch.autograd.grad(output, image, direction)[0] for output in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_features_before_and_after_dropout():
    network = build(3, dropout=0.5)
    output = network(torch.randn(4, 1, 16, 16, 16))
    kept = output.dropped.ne(0).flatten(2).any(2)
    assert not kept.all()
    torch.testing.assert_close(output.dropped[kept], 2 * output.decoder[kept])
    torch.testing.assert_close(output.logits, network.last(output.dropped))
    assert build(2)(torch.randn(1, 1, 16, 16)).dropped is None


@pytest.mark.parametrize("dimensions", NETWORKS)
def test_scales_train_in_bfloat16(dimensions):
    network = build(dimensions, scales=3)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(torch.randn(2, 1, *(16,) * dimensions))
    sum(logits.float().square().mean() for logits in output.scales).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.heads.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.heads.parameters())
