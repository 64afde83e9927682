"""Pieces of a label and the removal of small ones, against scipy."""

import numpy as np
import pytest
from scipy import ndimage

from crossview.methods.blocks.pieces import Pieces, without_small


def label_of(shape, seed, classes=4):
    """A label of many small pieces of classes that touch each other; a class is missing."""
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 0.8)
    label = np.digitize(values, np.quantile(values, [0.6, 0.75, 0.9])).astype(np.uint8)
    return np.where(label == seed % classes, 0, label).astype(np.uint8)


def reference(label, smallest):
    result = np.zeros_like(label)
    for number, least in enumerate(smallest, 1):
        pieces, count = ndimage.label(label == number, np.ones((3,) * label.ndim))
        for piece in range(1, count + 1):
            if (pieces == piece).sum() >= least:
                result[pieces == piece] = number
    return result


@pytest.mark.parametrize("shape", [(23, 17), (1, 40), (13, 11, 9), (9, 1, 30), (6, 20, 1)])
@pytest.mark.parametrize("seed", range(4))
def test_small_pieces_are_those_of_scipy(shape, seed):
    label = label_of(shape, seed)
    for order in ("C", "F"):
        for smallest in ((2, 3, 5), (0, 4, 0), (1e9, 1, 2.5)):
            given = np.array(label, order=order)
            found = without_small(given, smallest)
            np.testing.assert_array_equal(found, reference(label, smallest))
            np.testing.assert_array_equal(given, label)


def test_volumes_that_differ_by_rounding_are_equal():
    label = np.zeros((1, 30), np.uint8)
    label[0, :3] = label[0, 9:11] = 1
    voxel = 0.1

    assert without_small(label, [0.3 / voxel * (1 + 1e-9)]).sum() == 3
    assert without_small(label, [0.3001 / voxel]).sum() == 0


def test_nothing_is_done_without_pieces_or_minimum():
    empty = np.zeros((4, 5, 6), np.uint8)
    assert without_small(empty, [9.0]) is empty
    assert len(Pieces.of(empty).voxels) == 1
    full = np.ones((4, 5), np.uint8)
    assert without_small(full, [0.0]) is full
