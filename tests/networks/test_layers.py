"""Interpolation is exact, and deterministic up-sampling equals torch's."""

import pytest
import torch
import torch.nn.functional as F

from crossview.networks.layers import (
    Interpolation,
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
