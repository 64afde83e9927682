"""The seams of windows, of maps whose jump is known."""

import pytest
import torch
from benchmarks.seams import seams, summed

from crossview.inference.weights import gaussian


@pytest.mark.parametrize(("weights", "jump"), [(torch.ones(8), 0.5), (gaussian(8), 0.002473)])
def test_windows_of_all_and_of_nothing_jump_by_their_share(weights, jump):
    """Two windows of 8 voxels overlap by half: one says 0, the other 1."""
    weight = weights[:, None, None].expand(8, 2, 2)
    maps, corners = [torch.zeros(1, 8, 2, 2), torch.ones(1, 8, 2, 2)], [(0, 0, 0), (4, 0, 0)]
    total, mass = summed(maps, corners, weight, (12, 2, 2))
    found, near = seams(maps, corners, weight, total, mass)
    # exp(-3.5**2 / 2) at the end of a window, exp(-0.5**2 / 2) in the other's middle.
    assert found.max() == pytest.approx(jump, rel=1e-3)
    assert near.any() == (jump == 0.5)
