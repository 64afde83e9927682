"""Images on another grid: values of torch and scipy, aligned by areas."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crossview.data.resampling import resampled

shapes = st.lists(st.integers(1, 9), min_size=2, max_size=3).map(tuple)


def values(*shape, seed=0):
    return (np.random.default_rng(seed).normal(size=shape) * 100).astype(np.float32)


@settings(max_examples=80, deadline=None)
@given(shapes, st.data())
def test_finer_voxels_are_torchs_own(shape, data):
    target = tuple(side + data.draw(st.integers(0, 6)) for side in shape)
    maps = torch.from_numpy(values(3, 2, *shape))
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    torch.testing.assert_close(
        resampled(maps, target),
        torch.nn.functional.interpolate(maps, size=target, mode=mode),
        atol=1e-3,
        rtol=0,
    )
    torch.testing.assert_close(
        resampled(maps[0, 0], target), resampled(maps, target)[0, 0], atol=1e-3, rtol=0
    )


def test_finer_voxels_are_those_of_scipy_with_grids_aligned_by_areas():
    volume = values(9, 6, 5)
    found = resampled(torch.from_numpy(volume), (18, 13, 5)).numpy()
    expected = ndimage.zoom(volume, (2, 13 / 6, 1), order=1, grid_mode=True, mode="nearest")
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_coarser_voxels_hold_the_mean_of_the_finer():
    noise = values(96, 96)
    assert (
        resampled(torch.from_numpy(noise), (24, 24)).std() < 0.35 * noise.std()
    )  # every fourth voxel alone would keep it
    step = np.repeat([0.0, 1.0], 48).astype(np.float32)
    np.testing.assert_allclose(
        resampled(torch.from_numpy(step), (2,)).numpy(), [1 / 8, 7 / 8], atol=0.07
    )
