"""The box of a scan without its constant border."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossview.data.padding import unpadded


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def ends(image):
    return [(part.start, part.stop) for part in unpadded(image)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(2, 7), min_size=2, max_size=3),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=3),
    st.lists(st.floats(-9, 9, width=32), min_size=2, max_size=2),
)
def test_padding_of_any_width_is_found(shape, widths, fill):
    widths = widths[: len(shape)]
    padded = np.stack([np.pad(noise(*shape), widths, constant_values=value) for value in fill])
    expected = [(a, a + side) for (a, _), side in zip(widths, shape, strict=True)]
    assert ends(padded) == expected


def test_padding_within_padding_is_found_too():
    inner = np.pad(noise(5, 4), 2)
    twice = np.pad(np.pad(inner, 3, constant_values=-1), ((0, 7), (0, 0)), constant_values=9)
    assert ends(twice[None]) == [(5, 10), (5, 9)]


def test_a_plane_belongs_to_the_scan_if_one_channel_shows_something():
    image = np.stack([np.pad(noise(4, 4), 3), np.pad(noise(8, 8), 1)])
    assert ends(image) == [(1, 9), (1, 9)]


@pytest.mark.parametrize(
    "image",
    [
        noise(1, 6, 5, 4),
        np.zeros((1, 6, 5)),  # nothing at all
        np.pad(np.ones((1, 4, 4)), ((0, 0), (2, 2), (2, 2))),  # nothing but a square
        np.ones((1, 1, 1)),
    ],
)
def test_these_are_used_as_they_are(image):
    assert ends(image) == [(0, side) for side in image.shape[1:]]


def test_black_corners_are_no_padding():
    """A round field of view touches the sides of its image."""
    x, y = np.ogrid[-10:11, -10:11]
    assert ends(np.where(x**2 + y**2 <= 100, noise(21, 21), 0)[None]) == [(0, 21), (0, 21)]
