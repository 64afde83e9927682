"""Components found by the device's kernels equal the host's: on a GPU, and without one by Triton's interpreter where Triton is there."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

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
    """One path that fills every other row: the longest way from a component's end to its first voxel."""
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


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton here")
def test_the_interpreted_kernels_find_the_hosts_components():
    interpreted = os.environ | {
        "TRITON_INTERPRET": "1"
    }  # is read when the kernels are defined: so in a process of its own
    subprocess.run([sys.executable, __file__], env=interpreted, check=True, timeout=300)


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
        from crossview.kernels.components import works_on

        assert works_on(torch.device("cuda"))


def test_a_device_that_can_not_is_told_of_and_not_used(monkeypatch):
    module = pytest.importorskip("crossview.kernels.components", reason="no Triton here")

    def fail(label, classes):
        raise RuntimeError("no compiler\nand more")

    for wrong, told in (
        (fail, "no compiler$"),
        (lambda label, classes: torch.zeros_like(label), "other components than the host's"),
    ):
        monkeypatch.setattr(module, "largest_components_there", wrong)
        with pytest.warns(UserWarning, match=told):
            assert not module.works_on(torch.device("cpu"))


if __name__ == "__main__":
    check(torch.device("cpu"), SHAPES)
