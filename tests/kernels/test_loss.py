"""Cross-entropy and Dice by kernels equal torch's: on a GPU, and without one by Triton's interpreter where Triton is there."""

import importlib.util
import os
import subprocess
import sys
from itertools import product

import pytest
import torch

from crossview.methods.blocks.losses import cross_entropy_dice, plain_cross_entropy_dice

SHAPES = [(2, 2, 3, 4, 5), (1, 5, 7, 9), (3, 4, 40, 60), (2, 3, 1, 1, 1), (2, 16, 5, 8)]
LARGE = [(2, 2, 112, 112, 80), (12, 4, 256, 256), (40, 3, 64, 64), (1, 2, 300, 300, 40)]
CASES = list(product(SHAPES, (torch.float32, torch.bfloat16), (False, True)))

without_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="no Triton here"
)


@without_triton
def test_the_interpreted_kernels():
    interpreted = os.environ | {
        "TRITON_INTERPRET": "1"
    }  # is read when the kernels are defined: so in a process of its own
    subprocess.run([sys.executable, __file__], env=interpreted, check=True, timeout=300)


@without_triton
def test_what_differs_is_told_and_not_used(monkeypatch):
    from crossview.kernels import loss

    def fail(*_):
        raise RuntimeError("no compiler\nand more")

    monkeypatch.setattr(loss, "compare", fail)
    with pytest.warns(
        UserWarning, match="torch's own cross-entropy and Dice are used on cpu: no compiler$"
    ):
        assert not loss.works_on(torch.device("cpu"))


@without_triton
def test_tensors_that_do_not_lie_evenly_are_told():
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
        from crossview.kernels import loss

        loss.compare(shape, dtype, weighted, torch.device("cuda"))

    def test_they_are_used_there(self):
        from crossview.kernels import loss

        logits = torch.randn(2, 3, 8, 8, 8, device="cuda")
        assert loss.fits(logits, torch.zeros(2, 8, 8, 8, device="cuda", dtype=torch.uint8))
        assert not loss.fits(logits.double(), torch.zeros(2, 8, 8, 8, device="cuda"))
        assert not loss.fits(logits, torch.zeros(2, 1, 8, 8, 8, device="cuda"))


if __name__ == "__main__":
    from tests.helpers import interpreting  # noqa: F401

    from crossview.kernels import loss

    loss.BLOCK, loss.PROGRAMS = 64, 4
    for case in CASES:
        torch.manual_seed(0)
        loss.compare(*case, torch.device("cpu"))
