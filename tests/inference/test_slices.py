"""Slice-wise inference: resized to the patch and back."""

import numpy as np
import pytest
import torch
from tests.helpers import golden_numbers
from tests.helpers.blocks import whole_maps

from crossview.inference.windows import Slices


def resized(image, patch, batch=3):
    ((_, found),) = whole_maps([(0, Slices(image, patch))], lambda stack: stack, batch)
    return found


@pytest.mark.parametrize("shape", [(1, 3, 7, 10), (2, 1, 16, 5), (1, 9, 12)])
def test_slices_enlarged_and_back_are_unchanged(shape):
    image = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(resized(image, (32, 31)), image)


def test_a_slice_of_the_patchs_size_is_taken_as_it_is():
    image = torch.randn(1, 4, 8, 6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(Slices(image, (8, 6)).cut(2), image[:, 2])


@pytest.mark.parametrize("side", [37, 45, 154, 216, 240, 256, 300, 512])
def test_both_ways_take_the_published_pixels(side):
    golden = golden_numbers.load("cml_inference")
    to_patch, back = golden[f"zoom_{side}_256"], golden[f"zoom_256_{side}"]
    there = Slices(
        torch.arange(side, dtype=torch.float32)[None, :, None].expand(1, side, 4), (256, 4)
    ).cut(0)
    np.testing.assert_array_equal(there[0, :, 0], to_patch)
    # The published code loses the last pixel of some sizes on the way back (-1: filled with
    # background); here it is the nearest.
    wave = torch.arange(256, dtype=torch.float32)[None, :, None].expand(1, 256, 4)
    ((_, found),) = whole_maps(
        [(0, Slices(torch.zeros(1, side, 4), (256, 4)))], lambda stack: wave[None], batch=1
    )
    np.testing.assert_array_equal(found[0, :, 0], np.where(back < 0, 255, back))
    assert (back < 0).sum() <= 1
