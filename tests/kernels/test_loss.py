"""Cross-entropy and Dice by kernels equal torch's: on a GPU, or in Triton's interpreter."""

from itertools import product

import pytest
import torch
from tests.helpers import interpreting
from tests.helpers.interpreting import without_triton

from crossview.methods.blocks.losses import cross_entropy_dice, plain_cross_entropy_dice

SHAPES = [(2, 2, 3, 4, 5), (1, 5, 7, 9), (3, 4, 20, 30), (2, 3, 1, 1, 1), (2, 16, 5, 8)]
LARGE = [(2, 2, 112, 112, 80), (12, 4, 256, 256), (40, 3, 64, 64), (1, 2, 300, 300, 40)]
CASES = list(product(SHAPES, (torch.float32, torch.bfloat16), (False, True)))


@without_triton
def test_the_interpreted_kernels():
    interpreting.run(__file__)


@without_triton
def test_kernels_that_differ_are_reported_and_not_used(monkeypatch):
    from crossview.kernels import check

    def fail(*_):
        raise RuntimeError("no compiler\nand more")

    monkeypatch.setattr(check, "compare_loss", fail)
    check.loss_works.cache_clear()
    with pytest.warns(
        UserWarning, match="torch's own cross-entropy and Dice are used on cpu: no compiler$"
    ):
        assert not check.loss_works(torch.device("cpu"), plain_cross_entropy_dice)


@without_triton
def test_steps_are_those_of_evenly_spaced_voxels():
    from crossview.kernels.loss import steps

    plain = torch.zeros(2, 3, 4, 5, 6)
    assert steps(plain) == (360, 120, 1)
    assert steps(plain.contiguous(memory_format=torch.channels_last_3d)) == (360, 1, 3)
    assert steps(plain[..., ::2]) is None


def test_elsewhere_it_is_torchs():
    logits, label = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4))
    assert torch.equal(cross_entropy_dice(logits, label), plain_cross_entropy_dice(logits, label))


@pytest.mark.gpu
class TestOnTheGpu:
    @pytest.mark.parametrize(
        ("shape", "dtype", "weighted"),
        [*CASES, *product(LARGE, (torch.float32, torch.bfloat16), (False, True))],
    )
    def test_the_loss_and_its_gradient(self, shape, dtype, weighted):
        from crossview.kernels import check

        device = torch.device("cuda")
        check.compare_loss(shape, dtype, weighted, device, plain_cross_entropy_dice)

    def test_they_are_used_there(self):
        from crossview.kernels.check import fits_loss

        plain = plain_cross_entropy_dice
        logits = torch.randn(2, 3, 8, 8, 8, device="cuda")
        assert fits_loss(logits, torch.zeros(2, 8, 8, 8, device="cuda", dtype=torch.uint8), plain)
        assert not fits_loss(logits.double(), torch.zeros(2, 8, 8, 8, device="cuda"), plain)
        assert not fits_loss(logits, torch.zeros(2, 1, 8, 8, 8, device="cuda"), plain)


if __name__ == "__main__":
    interpreting.mend()
    from crossview.kernels import check, loss

    loss.BLOCK, loss.PROGRAMS = 64, 4
    for case in CASES:
        torch.manual_seed(0)
        check.compare_loss(*case, torch.device("cpu"), plain_cross_entropy_dice)
