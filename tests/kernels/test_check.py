"""Kernels around convolutions equal torch's: on a GPU, or in Triton's interpreter."""

import sys
from itertools import product

import pytest
import torch
from tests.helpers import interpreting
from tests.helpers.interpreting import without_triton
from torch import nn

from crossview.kernels import own_kernels, wanted
from crossview.networks import layers
from crossview.networks.unet import UNet
from crossview.networks.vnet import VNet
from crossview.training.device import set_kernels

SHAPES = [
    (2, 5, 3, 4, 5),
    (2, 24, 3, 6, 5),
    (1, 16, 1, 2, 3),
    (3, 16, 6, 7),
    (2, 3, 8, 9),
    (1, 130, 4, 4),
    (2, 16, 24, 25),
]
LARGE = [
    (2, 16, 112, 112, 80),
    (2, 256, 7, 7, 5),
    (12, 16, 256, 256),
    (4, 300, 14, 10, 6),
    (1, 1, 64, 64, 64),
]
TYPES = (torch.float32, torch.bfloat16)


@without_triton
@pytest.mark.parametrize("programs", [512, 3])
def test_the_interpreted_kernels(programs):
    interpreting.run(__file__, str(programs))


@without_triton
def test_kernels_that_differ_are_reported_and_not_used(monkeypatch):
    from crossview.kernels import check

    def fail(shape, dtype, device):
        raise RuntimeError("no compiler\nand more")

    monkeypatch.setattr(check, "compare_norm", fail)
    check.layers_work.cache_clear()
    with pytest.warns(UserWarning, match="no compiler$"):
        assert not check.layers_work(torch.device("cpu"))
    with pytest.raises(AssertionError, match="off"):
        check.agree(torch.ones(3), torch.full((3,), 1.1, dtype=torch.float64), 1e-2)


def test_they_are_used_where_asked_for_alone():
    class OnGpu(torch.Tensor):
        is_cuda = True

    tensor = torch.zeros(1).as_subclass(OnGpu)
    assert not wanted(tensor)
    with own_kernels():
        assert wanted(tensor)
        assert not wanted(torch.zeros(1))
        with own_kernels(False):
            assert not wanted(tensor)
        assert wanted(tensor)


@pytest.mark.parametrize("slope", [0.0, 0.01])
def test_elsewhere_it_is_torchs(slope):
    convolution, norm = nn.Conv3d(2, 3, 3, padding=1), nn.BatchNorm3d(3)
    image = torch.randn(2, 2, 4, 4, 4)
    expected = nn.functional.leaky_relu(norm(convolution(image)), slope)
    assert torch.equal(layers.normalised(image, convolution, norm, slope), expected)


@pytest.mark.parametrize(
    "change",
    [
        {"affine": False},
        {"track_running_stats": False},
        {"momentum": None},
        {"dtype": torch.float64},
        {"kind": nn.SyncBatchNorm},
    ],
)
def test_only_plain_batch_norm_is_replaced(change):
    kind = change.get("kind", nn.BatchNorm3d)
    options = {key: value for key, value in change.items() if key != "kind"}
    assert layers._is_plain(nn.BatchNorm3d(4))
    assert not layers._is_plain(kind(4, **options))


@pytest.mark.parametrize("channels", [1, 3, 8, 9])
def test_channels_of_zeros_change_nothing(channels):
    convolution = nn.Conv3d(channels, 4, 3, padding=1, bias=False)
    image = torch.randn(2, channels, 4, 5, 6)
    wide, weight = layers._widened(image, convolution.weight)
    assert wide.shape[1] == weight.shape[1] == max(8, channels)
    torch.testing.assert_close(
        convolution._conv_forward(wide, weight, None), convolution(image), rtol=1e-5, atol=1e-6
    )


@pytest.mark.gpu
class TestOnTheGpu:
    @pytest.mark.parametrize(("shape", "dtype"), list(product(SHAPES + LARGE, TYPES)))
    def test_both_operations(self, shape, dtype):
        from crossview.kernels import check

        check.compare_norm(shape, dtype, torch.device("cuda"))
        check.compare_upsampling(shape, dtype, torch.device("cuda"))

    def test_they_are_trusted_there(self):
        from crossview.kernels import check

        assert check.layers_work(torch.device("cuda:0"))

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize(
        ("kind", "shape"), [(VNet, (2, 1, 32, 48, 16)), (UNet, (3, 1, 64, 96))]
    )
    @pytest.mark.parametrize("upsample", ["linear", "transposed"])
    def test_a_network_is_the_same_network(self, kind, shape, upsample, training):
        set_kernels(deterministic=False)
        torch.manual_seed(0)
        network = (
            kind(
                kind.Options(filters=8, levels=4, dropout=0.0, upsample=upsample),
                channels=1,
                classes=3,
            )
            .cuda()
            .train(training)
        )
        image = torch.randn(shape, device="cuda")
        with own_kernels():
            found = self.answers(network, image, training)
        expected = self.answers(network, image, training)
        for one, other in zip(found, expected, strict=True):
            assert (one - other).norm() <= 2e-4 * other.norm() + 1e-5

    @pytest.mark.parametrize(
        ("kind", "shape"), [(VNet, (2, 1, 32, 48, 16)), (UNet, (3, 1, 64, 96))]
    )
    def test_a_network_in_bf16_is_as_near_to_float32_as_torchs(self, kind, shape):
        torch.manual_seed(0)
        network = kind(
            kind.Options(filters=8, levels=4, dropout=0.0, upsample="linear"), channels=1, classes=3
        ).cuda()
        image = torch.randn(shape, device="cuda")
        exact = self.answers(network, image, True)[0]
        with torch.autocast("cuda", torch.bfloat16):
            theirs = self.answers(network, image, True)[0]
            with own_kernels():
                ours = self.answers(network, image, True)[0]
        assert (ours - exact).norm() <= 1.2 * (theirs - exact).norm()

    @staticmethod
    def answers(network, image, gradient):
        """Return logits, statistics and gradients of the weights.

        Biases before a batch norm are skipped: torch's gradients there are rounding errors.
        """
        state = {name: value.clone() for name, value in network.state_dict().items()}
        with torch.set_grad_enabled(gradient):
            logits = network(image).logits
        found = [
            logits.detach(),
            *(buffer.clone() for buffer in network.buffers() if buffer.is_floating_point()),
        ]
        if gradient:
            named = {
                name: weight for name, weight in network.named_parameters() if not _cancels(name)
            }
            found += torch.autograd.grad(logits.square().mean(), list(named.values()))
        network.load_state_dict(state)
        return found

    def test_it_is_the_same_every_time(self):
        network = VNet(
            VNet.Options(filters=8, levels=3, upsample="linear"), channels=1, classes=2
        ).cuda()
        image = torch.randn(2, 1, 32, 32, 32, device="cuda")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            runs = []
            for _ in range(3):
                torch.manual_seed(1)
                with own_kernels():
                    runs.append(
                        torch.autograd.grad(
                            network(image).logits.square().mean(), list(network.parameters())
                        )
                    )
        finally:
            torch.use_deterministic_algorithms(False)
        assert all(
            torch.equal(one, other)
            for run in runs[1:]
            for one, other in zip(runs[0], run, strict=True)
        )


def _cancels(name):
    """True for the bias of a convolution that a batch norm follows."""
    return name.endswith("bias") and "norm" not in name and not name.startswith(("last", "heads"))


if __name__ == "__main__":
    interpreting.mend()
    from crossview.kernels import check, norm

    norm.PROGRAMS = int(sys.argv[1])
    for case in product(SHAPES, TYPES):
        torch.manual_seed(0)
        check.compare_norm(*case, torch.device("cpu"))
        check.compare_upsampling(*case, torch.device("cpu"))
