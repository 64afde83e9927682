"""Dropout: the shares, the draws, and the generator of each thread."""

import pytest
import torch
import torch.nn.functional as F

from crossview.networks.dropout import channel_dropout, drawing_from, dropout
from crossview.networks.unet import UNet
from crossview.networks.vnet import VNet


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("probability", [0.05, 0.5, 0.9])
def test_dropout_zeroes_a_share_of_the_features_and_scales_the_others(
    probability: float, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    image = torch.ones(3, 7, 41, 43).to(memory_format=layout).requires_grad_()
    dropped = dropout(image, probability, training=True)
    kept = dropped != 0
    spread = (probability * (1 - probability) / image.numel()) ** 0.5
    assert abs(1 - kept.float().mean() - probability) < 5 * spread
    for part in kept.flatten(2).float().mean(2).flatten():  # no channel and no sample is favoured
        assert (
            abs(1 - part - probability) < 5 * spread * (image[0, 0].numel() / image.numel()) ** -0.5
        )
    torch.testing.assert_close(
        dropped[kept], torch.full_like(dropped[kept], 1 / (1 - probability)), rtol=2e-4, atol=0
    )
    assert dropped.stride() == image.stride()
    (gradient,) = torch.autograd.grad(dropped.sum(), image)
    assert torch.equal(gradient, dropped)


def test_dropout_comes_from_the_seed_and_from_one_draw_to_the_next() -> None:
    image = torch.ones(2, 3, 16, 16)

    def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(seed)
        return dropout(image, 0.3, training=True), dropout(image, 0.3, training=True)

    first, second = drawn(1)
    assert not torch.equal(first, second)
    assert torch.equal(first, drawn(1)[0])
    assert not torch.equal(first, drawn(2)[0])


def test_dropout_leaves_features_alone_that_it_should_not_touch() -> None:
    image = torch.randn(2, 3, 5, 5)
    assert torch.equal(dropout(image, 0.5, training=False), image)
    assert torch.equal(dropout(image, 0.0, training=True), image)
    assert not dropout(image, 1.0, training=True).any()


@pytest.mark.parametrize(
    "image", [torch.ones(1, 4, 9, 9)[:, ::2], torch.ones(1, 1, 9, 9).expand(1, 4, 9, 9)]
)
def test_dropout_of_features_with_gaps_or_overlaps_in_memory(image: torch.Tensor) -> None:
    torch.manual_seed(0)
    dropped = dropout(image, 0.5, training=True)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_of_channels_is_torchs_own(probability: float, dtype: torch.dtype) -> None:
    features = torch.randn(3, 40, 2, 3, 4).to(dtype).to(memory_format=torch.channels_last_3d)
    torch.manual_seed(7)
    expected, after = F.dropout3d(features, probability), torch.rand(4)
    torch.manual_seed(7)
    assert torch.equal(channel_dropout(features, probability, training=True), expected)
    assert torch.equal(torch.rand(4), after)
    own = torch.Generator().manual_seed(7)
    with drawing_from(own):
        assert torch.equal(channel_dropout(features, probability, training=True), expected)


@pytest.mark.parametrize("network", [UNet, VNet])
def test_a_network_draws_from_the_generator_of_its_thread_alone(network: type) -> None:
    options = network.Options(filters=2, levels=2, dropout=0.5)
    made, image = (
        network(options, channels=1, classes=2),
        torch.randn(2, 1, *[8] * network.dimensions),
    )

    def drawn(seed: int) -> torch.Tensor:
        with drawing_from(torch.Generator().manual_seed(seed)):
            logits: torch.Tensor = made(image).logits
            return logits

    before = torch.get_rng_state()
    first = drawn(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn(1), first)
    assert not torch.equal(drawn(2), first)
    assert not torch.equal(made(image).logits, made(image).logits)
    assert not torch.equal(torch.get_rng_state(), before)
