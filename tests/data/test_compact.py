"""Compact images: exact where they have few values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossview.data import compact as module
from crossview.data.compact import compact


def bits(array):
    return np.ascontiguousarray(array).view(np.uint32)


def image_of(values, size=40_000):
    image = np.random.default_rng(0).choice(np.asarray(values, np.float32), size)
    image[: len(values)] = values
    return image.reshape(1, 200, -1)


def decoded(stored):
    return stored.widened("float32").data


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False),
        min_size=1,
        max_size=256,
        unique_by=lambda x: np.float32(x).tobytes(),
    )
)
def test_up_to_256_values_are_exact_in_a_byte(values):
    image = image_of(values)
    stored = compact(image)
    assert stored.kind == "uint8"
    assert np.array_equal(bits(decoded(stored)), bits(image))


def test_a_value_that_occurs_once_is_kept():
    image = np.zeros(1_000_003, np.float32)
    image[[17, 500_001]] = 0.1, -0.0
    assert np.array_equal(bits(decoded(compact(image))), bits(image))


@pytest.mark.parametrize("count", [257, 2000, 20_000])
def test_more_values_are_exact_in_two_bytes(count):
    image = image_of(np.random.default_rng(1).random(count))
    stored = compact(image)
    assert stored.kind == "int16"
    assert np.array_equal(decoded(stored), image)


def test_many_values_are_rounded_to_float16():
    image = np.random.default_rng(1).normal(size=(1, 50, 50, 50)).astype(np.float32)
    stored = compact(image)
    assert stored.kind == "float16"
    assert (np.abs(decoded(stored) - image) <= np.abs(image) / 2048 + 1e-7).all()


def test_float32_beyond_the_range_of_float16():
    image = np.random.default_rng(1).normal(size=(1, 50, 50, 50)).astype(np.float32)
    image.flat[5] = 1.7e6
    stored = compact(image)
    assert stored.kind == "float32"
    assert np.array_equal(stored.data, image)


def test_values_that_no_hash_separates_fall_back_to_a_search(monkeypatch):
    monkeypatch.setattr(module, "_MULTIPLIERS", [])
    image = image_of(np.arange(200))
    assert np.array_equal(decoded(compact(image)), image)
