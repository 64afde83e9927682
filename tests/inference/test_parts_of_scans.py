"""A prediction of a part of a scan is put in its place, in windows and in slices."""

import numpy as np
import pytest

from crossview.inference.items import ArrayItem

WAYS = {
    "windows": ({}, 3),
    "windows in slices": ({"patch": (8, 6), "stride": (5, 5)}, 2),
    "slices": ({"mode": "slices", "patch": (16, 12)}, 2),
}
WIDTHS = [(3, 0), (2, 9), (0, 4)]


def scan(seed=0, shape=(1, 9, 10, 7)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("part", [(9, 10, 7), (14, 10, 9)])
def test_the_rest_is_background(convolution, predictor, way, part):
    """part: sides of the part on the scan's grid, which the image's may differ from."""
    settings, axes = WAYS[way]
    made = predictor(convolution(classes=3, axes=axes), **settings)
    box = tuple(slice(a, a + side) for (a, _), side in zip(WIDTHS, part, strict=True))
    shape = tuple(a + side + b for (a, b), side in zip(WIDTHS, part, strict=True))
    items = [ArrayItem(scan(), shape, box), ArrayItem(scan(), part)]
    found, expected = (prediction for _, prediction in made.predict(items))
    np.testing.assert_array_equal(found.label[box], expected.label)
    np.testing.assert_array_equal(found.probability[:, *box], expected.probability)
    np.testing.assert_array_equal(found.views["view2"][box], expected.views["view2"])
    np.testing.assert_array_equal(found.disagreement[box], expected.disagreement)
    border = np.ones(shape, bool)
    border[box] = False
    assert not found.label[border].any()
    assert (found.probability[0, border] == 1).all()
    assert not found.disagreement[border].any()


def test_a_part_that_has_the_scans_shape_on_the_models_grid(convolution, predictor):
    """9 x 10 x 7 voxels stand for a part half as large of a scan of 9 x 10 x 7."""
    box = (slice(0, 5), slice(2, 7), slice(3, 6))
    item = ArrayItem(scan(), (9, 10, 7), box)
    ((_, found),) = predictor(convolution()).predict([item])
    assert (found.probability[0, 5:] == 1).all()
    assert (found.probability[0][box] < 1).all()
