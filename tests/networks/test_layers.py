"""Interpolation is exact, deterministic up-sampling equals torch's, and dropout drops as asked."""

import pytest
import torch
import torch.nn.functional as F

from crossview.networks.layers import (
    Interpolation,
    dropout,
    resize,
    upsample,
    upsample_by_matrices,
)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("way", ["resize", "upsample"])
def test_few_channels_of_bfloat16_are_interpolated_as_exactly_as_they_can_be(way, channels, layout):
    """A value rounded once is off by at most 2^-8 of itself."""
    torch.manual_seed(0)
    image = torch.randn(2, channels, 5, 6, 7).bfloat16().to(memory_format=layout)

    def made(maps: torch.Tensor) -> torch.Tensor:
        if way == "upsample":
            return upsample(maps, "linear")
        return resize(maps, (37, 29, 41), "linear")

    found, exact = made(image), made(image.double())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact, rtol=2**-7.99, atol=1e-6)


@pytest.mark.parametrize(
    ("sides", "interpolation"),
    [
        ((5, 7), "linear"),
        ((5, 7), "cubic"),
        ((1, 2), "cubic"),
        ((4, 3, 6), "linear"),
        ((1, 2, 1), "linear"),
    ],
)
def test_matrices_equal_torch(sides: tuple[int, ...], interpolation: Interpolation) -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 3, *sides, dtype=torch.float64, requires_grad=True)
    expected, found = upsample(image, interpolation), upsample_by_matrices(image, interpolation)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(expected)
    gradients = [torch.autograd.grad(output, image, direction)[0] for output in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_matrices_keep_the_type_under_autocast() -> None:
    image = torch.randn(1, 2, 4, 4, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = upsample_by_matrices(image, "linear")
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(
        found.float(), upsample(image.float(), "linear"), rtol=0.01, atol=0.01
    )


def test_linear_upsampling_aligns_the_corners() -> None:
    line = torch.tensor([0.0, 3.0]).view(1, 1, 1, 2)
    torch.testing.assert_close(
        upsample(line, "linear")[0, 0, 0], torch.tensor([0.0, 1.0, 2.0, 3.0])
    )
    assert upsample(line, "nearest")[0, 0, 0].tolist() == [0, 0, 3, 3]


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("sides", "interpolation"), [((8, 6), "linear"), ((8, 6), "cubic"), ((8, 6, 4), "linear")]
)
def test_deterministic_on_a_gpu(
    sides: tuple[int, ...], interpolation: Interpolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        image = torch.randn(2, 16, *sides, device="cuda", requires_grad=True)
        gradients = [
            torch.autograd.grad(upsample(image, interpolation).square().sum(), image)[0]
            for _ in range(2)
        ]
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(*gradients)
    expected = F.interpolate(
        image,
        scale_factor=2,
        mode="bicubic"
        if interpolation == "cubic"
        else "bilinear"
        if len(sides) == 2
        else "trilinear",
        align_corners=True,
    )
    torch.testing.assert_close(
        gradients[0], torch.autograd.grad(expected.square().sum(), image)[0], rtol=1e-4, atol=1e-4
    )


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
