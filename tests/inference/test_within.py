"""Images are predicted without their constant border, in windows and in slices."""

import numpy as np
import pytest
from tests.helpers.predicting import predictions

WAYS = {
    "windows": ({}, 3),
    "windows in slices": ({"patch": (8, 6), "stride": (5, 5)}, 2),
    "slices": ({"mode": "slices", "patch": (16, 12)}, 2),
}
WIDTHS = [(0, 0), (3, 0), (2, 9), (0, 4)]


def scan(seed=0, shape=(1, 9, 10, 7)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [0, -3])
def test_the_prediction_inside_is_that_of_the_scan(convolution, predictor, way, value):
    settings, axes = WAYS[way]
    method = convolution(classes=3, axes=axes)
    settings = {**settings, "largest_component": False}
    made = predictor(method, inside=True, **settings)
    padded = np.pad(scan(), WIDTHS, constant_values=value)
    inside = tuple(
        slice(before, side - after)
        for side, (before, after) in zip(padded.shape[1:], WIDTHS[1:], strict=True)
    )
    (found,) = predictions(made, [padded])
    (expected,) = predictions(predictor(method, **settings), [scan()])
    np.testing.assert_array_equal(found.label[inside], expected.label)
    np.testing.assert_array_equal(found.probability[:, *inside], expected.probability)
    np.testing.assert_array_equal(found.views["view2"][inside], expected.views["view2"])
    np.testing.assert_array_equal(found.disagreement[inside], expected.disagreement)
    border = np.ones(padded.shape[1:], bool)
    border[inside] = False
    assert not found.label[border].any()
    assert (found.probability[0, border] == 1).all()
    assert not found.disagreement[border].any()


def test_without_a_border_nothing_changes_and_items_keep_their_order(convolution, predictor):
    method, scans = convolution(), [scan(1), np.pad(scan(2), WIDTHS), scan(3)]
    inside, plain = (
        list(predictions(predictor(method, inside=choice), scans)) for choice in (True, False)
    )
    for place in (0, 2):
        np.testing.assert_array_equal(inside[place].probability, plain[place].probability)
    assert inside[1].label.shape == scans[1].shape[1:]


def test_a_constant_image_is_predicted_whole(convolution, predictor):
    (found,) = predictions(predictor(convolution(), inside=True), [np.zeros((1, 9, 9, 9), "f4")])
    (expected,) = predictions(predictor(convolution()), [np.zeros((1, 9, 9, 9), "f4")])
    np.testing.assert_array_equal(found.probability, expected.probability)
