"""The adversarial direction; it equals SS-Net's official one in tests/methods/test_ss_net."""

import pytest
import torch
from torch import nn

from crossview.methods.blocks.adversarial import (
    adversarial_direction,
    frozen_statistics,
    uniform_noise,
    unit,
)


def test_unit_is_one_long_for_every_sample():
    torch.manual_seed(0)
    samples = torch.randn(3, 2, 4, 5, 6) * torch.tensor([1.0, 10, 1e4]).view(3, 1, 1, 1, 1)
    torch.testing.assert_close(unit(samples).flatten(1).norm(dim=1), torch.ones(3))
    assert torch.equal(unit(torch.zeros(2, 1, 3)), torch.zeros(2, 1, 3))


def test_noise_is_uniform_around_zero_and_follows_its_generator():
    image = torch.zeros(2, 1, 50, 50, dtype=torch.float64)
    first, again, other = (
        uniform_noise(image, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == image.dtype
    assert -0.5 <= first.min() < -0.49
    assert 0.49 < first.max() < 0.5
    assert abs(first.mean().item()) < 0.02


def test_finds_the_direction_in_which_the_prediction_moves():
    """Only the first voxel matters to this prediction, so the direction is that voxel's."""
    weight = nn.Parameter(torch.tensor(1.0))

    def predict(image):
        first = (weight * image[:, 0, 0]).sigmoid()
        return torch.stack([first, 1 - first], 1)[..., None]

    def divergence(p, q):
        return (p - q).square().sum()

    image = torch.zeros(2, 1, 4)
    noise = torch.full_like(image, 0.3)
    direction = adversarial_direction(
        predict, image, divergence, predict(image).detach(), noise, probe=1.0
    )
    torch.testing.assert_close(
        direction, torch.tensor([1.0, 0, 0, 0]).expand(2, 1, 4), rtol=0, atol=1e-6
    )
    assert not direction.requires_grad
    assert weight.grad is None


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm2d(3), nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))]
)
def test_frozen_statistics_normalise_by_the_batch(layer):
    torch.manual_seed(0)
    image = 5 + torch.randn(4, 3, 6, 6)
    layer.train()
    expected = layer(image)
    before = {name: value.clone() for name, value in layer.named_buffers()}
    with frozen_statistics(layer):
        torch.testing.assert_close(layer(image), expected)
    assert all(torch.equal(value, before[name]) for name, value in layer.named_buffers())
    layer(image)
    assert not all(torch.equal(value, before[name]) for name, value in layer.named_buffers())


def test_statistics_move_again_after_an_error_and_those_that_never_did_stay():
    layer, untracked = nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False)
    with (
        pytest.raises(RuntimeError, match="on purpose"),
        frozen_statistics(nn.Sequential(layer, untracked)),
    ):
        raise RuntimeError("on purpose")
    assert (layer.track_running_stats, untracked.track_running_stats) == (True, False)
