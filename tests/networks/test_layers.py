"""The CPU's bfloat16 trap is avoided, and the deterministic up-sampling equals torch's."""

import pytest
import torch
import torch.nn.functional as F

from crossview.networks.layers import (
    Convolution3d,
    Interpolation,
    upsample,
    upsample_by_matrices,
)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("channels", [1, 16])
@pytest.mark.parametrize(
    "sides", [(2, 3, 2), (1, 1, 1), (2, 2, 2), (1, 4, 4), (3, 3, 3), (4, 4, 4), (5, 6, 4)]
)
def test_bfloat16_convolution_on_the_cpu(
    sides: tuple[int, ...], channels: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    layer = Convolution3d(channels, 16).to(memory_format=layout)
    image = torch.randn(2, channels, *sides).to(memory_format=layout)
    direction = torch.randn(2, 16, *sides)

    def run(autocast: bool) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = layer(image)
        (gradient,) = torch.autograd.grad(output, layer.weight, direction.to(output.dtype))
        return output.detach().float(), gradient

    expected = run(autocast=False)
    for _ in range(3):
        rubbish = [
            torch.full((size,), 1e30) for size in (100, 1000, 7000, 14000, 60000)
        ]  # freed memory that a faulty kernel reads
        del rubbish
        for found, right in zip(run(autocast=True), expected, strict=True):
            assert (found - right).abs().max() < 0.02 * right.abs().max()


def test_large_inputs_stay_in_bfloat16() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert Convolution3d(2, 3)(torch.randn(1, 2, 4, 5, 6)).dtype == torch.bfloat16


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
