"""The CPU's bfloat16 trap: gradients by weights are right for every layer, a plugin's included."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from crossview.training.device import autocast

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    """On two threads a batch of one is right by luck."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fill_freed_memory():
    """Leave values behind that a faulty kernel reads."""
    rubbish = [torch.full((size,), 1e30) for size in (100, 1000, 7000, 14000, 60000)]
    del rubbish


def largest_error(layer, image):
    """Return the largest error of output and gradients, relative to float64 of bfloat16 values."""
    exact = [
        tensor.detach().bfloat16().double().requires_grad_() for tensor in (layer.weight, image)
    ]
    convolve = {
        nn.Conv2d: F.conv2d,
        nn.Conv3d: F.conv3d,
        nn.ConvTranspose3d: F.conv_transpose3d,
    }[type(layer)]
    expected = convolve(exact[1], exact[0], None, layer.stride, layer.padding)
    direction = torch.randn(expected.shape)
    right = (expected, *torch.autograd.grad(expected, exact, direction.bfloat16().double()))
    worst = 0.0
    for _ in range(3):
        fill_freed_memory()
        with autocast(CPU, "bf16"):
            output = layer(image)
        found = (
            output,
            *torch.autograd.grad(output, (layer.weight, image), direction.to(output.dtype)),
        )
        for mine, other in zip(found, right, strict=True):
            error = (mine.double() - other).abs().max() / other.abs().max()
            worst = max(worst, error.nan_to_num(torch.inf).item())
    return worst


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "sides"),
    [
        *((3, sides) for sides in [(2, 3, 2), (1, 1, 1), (2, 2, 2), (2, 6, 5), (1, 4, 4)]),
        *((3, sides) for sides in [(3, 3, 3), (4, 1, 2), (5, 6, 4)]),
        *((5, sides) for sides in [(2, 6, 6), (3, 3, 3), (4, 8, 8), (6, 1, 6), (6, 6, 2)]),
        *((7, sides) for sides in [(3, 8, 8), (6, 8, 8), (8, 1, 8), (8, 2, 8), (8, 8, 8)]),
    ],
)
def test_gradients_of_small_inputs(kernel, sides, batch, layout):
    torch.manual_seed(0)
    layer = nn.Conv3d(8, 16, kernel, padding=kernel // 2, bias=False).to(memory_format=layout)
    image = torch.randn(batch, 8, *sides).to(memory_format=layout).requires_grad_()
    assert largest_error(layer, image) < 0.02


@pytest.mark.parametrize(
    ("layer", "sides"),
    [
        (nn.Conv3d(8, 8, 3, 2, padding=1, bias=False), (4, 4, 1)),
        (nn.Conv3d(8, 8, (3, 5, 5), padding=(1, 2, 2), bias=False), (6, 1, 6)),
        (nn.Conv3d(8, 8, (5, 3, 3), padding=(2, 1, 1), bias=False), (4, 6, 6)),
        (nn.ConvTranspose3d(8, 8, 3, padding=1, bias=False), (2, 4, 4)),
        (nn.ConvTranspose3d(8, 8, 4, 2, padding=1, bias=False), (3, 1, 2)),
        (nn.Conv2d(8, 8, 3, 2, padding=1, bias=False), (4, 1)),
    ],
)
def test_strides_and_other_kernels_are_guarded_too(layer, sides):
    torch.manual_seed(0)
    image = torch.randn(1, 8, *sides, requires_grad=True)
    assert largest_error(layer, image) < 0.02


@pytest.mark.parametrize(
    ("layer", "sides", "type_"),
    [
        (nn.Conv3d(2, 3, 3, padding=1), (2, 6, 6), torch.float32),
        (nn.Conv3d(2, 3, 3, padding=1), (1, 2, 3), torch.bfloat16),
        (nn.Conv3d(2, 3, 3, padding=1), (3, 2, 1), torch.bfloat16),
        (nn.Conv3d(2, 3, 5, padding=2), (5, 6, 7), torch.bfloat16),
        (nn.Conv3d(2, 3, 2, 2), (2, 2, 2), torch.bfloat16),
        (nn.ConvTranspose3d(2, 3, 2, 2), (1, 1, 1), torch.bfloat16),
        (nn.Conv2d(2, 3, 3, padding=1), (2, 2), torch.bfloat16),
    ],
)
def test_no_more_than_needed_leaves_bfloat16(layer, sides, type_):
    image = torch.randn(1, 2, *sides)
    with autocast(CPU, "bf16"):
        assert layer(image).dtype == type_
        assert layer(image.bfloat16()).dtype == type_
    with autocast(CPU, "float32"):
        assert layer(image).dtype == torch.float32


def test_arguments_may_be_named():
    weight, image = torch.randn(3, 2, 3, 3, 3), torch.randn(1, 2, 2, 4, 4)
    with autocast(CPU, "bf16"):
        found = F.conv3d(image.bfloat16(), weight=weight, stride=(1, 1, 1), padding=1)
    expected = F.conv3d(image.bfloat16().float(), weight, padding=1)
    torch.testing.assert_close(found, expected)
