"""Components found by kernels equal the host's: on a GPU, or in Triton's interpreter."""

import numpy as np
import pytest
import torch
from tests.helpers import interpreting
from tests.helpers.interpreting import without_triton

from crossview.methods.blocks.components import largest_components

SHAPES = [
    ((2, 10, 12), 0.3),
    ((2, 6, 7, 9), 0.1),
    ((2, 6, 7, 9), 0.4),
    ((1, 3, 1, 5), 0.5),
    ((2, 1, 4, 1), 0.5),
    ((1, 4, 4, 4), 0.0),
]
LARGE = [
    ((24, 256, 256), 0.3),
    ((8, 112, 112, 80), 0.02),
    ((8, 112, 112, 80), 0.1),
    ((8, 112, 112, 80), 0.5),
    ((2, 40, 33, 300), 0.08),
]


def noise(shape, density, classes=4):
    rng = np.random.default_rng(0)
    return (rng.integers(1, classes, shape, dtype=np.uint8) * (rng.random(shape) < density)).astype(
        np.uint8
    )


def snake(shape):
    """Return one path through every other row: the longest way to a component's first voxel."""
    label = np.zeros(shape, np.uint8)
    label[:, ::2, ::2] = 1
    label[:, 1::4, ::2, -1] = label[:, 3::4, ::2, 0] = 1
    label[:, ::4, 1::4, -1] = label[:, ::4, 3::4, 0] = 1
    return label


def ties(shape=(1, 8, 8, 8)):
    label = np.zeros(shape, np.uint8)
    label[0, 5, 0, 0] = label[0, 0, 5, 5] = label[0, 2, 2, 0] = 1
    return label


def check(device, shapes):
    from crossview.kernels.components import largest_components_there

    labels = (
        [noise(*case) for case in shapes]
        + [noise(*case, classes=2) for case in shapes[:2]]
        + [ties(), snake((1, 8, 6, 5))]
    )
    for label in labels:
        there = largest_components_there(torch.from_numpy(label).to(device), 4)
        np.testing.assert_array_equal(
            there.cpu().numpy(), largest_components(label, 4), err_msg=str(label.shape)
        )


@without_triton
def test_the_interpreted_kernels_find_the_hosts_components():
    interpreting.run(__file__)


@pytest.mark.gpu
class TestOnTheGpu:
    def test_the_kernels_find_the_hosts_components(self):
        check(torch.device("cuda"), SHAPES + LARGE)

    def test_they_do_so_every_time(self):
        from crossview.kernels.components import largest_components_there

        label = torch.from_numpy(noise((8, 112, 112, 80), 0.08, classes=2)).cuda()
        first = largest_components_there(label, 2)
        assert all(torch.equal(first, largest_components_there(label, 2)) for _ in range(50))

    def test_they_are_trusted_there(self):
        from crossview.kernels.check import components_work

        assert components_work(torch.device("cuda"), largest_components)


def test_a_device_that_fails_is_reported_and_not_used(monkeypatch):
    module = pytest.importorskip("crossview.kernels.check", reason="no Triton here")

    def fail(label, classes):
        raise RuntimeError("no compiler\nand more")

    for wrong, reason in (
        (fail, "the host's components are used on cpu: no compiler$"),
        (lambda label, classes: torch.zeros_like(label), "other components on noise"),
    ):
        monkeypatch.setattr(module, "largest_components_there", wrong)
        module.components_work.cache_clear()
        with pytest.warns(UserWarning, match=reason):
            assert not module.components_work(torch.device("cpu"), largest_components)


if __name__ == "__main__":
    interpreting.mend()
    check(torch.device("cpu"), SHAPES)
