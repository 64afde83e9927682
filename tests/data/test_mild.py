"""Mild augmentation: the identity, a turn, a scale, and labels that go with their images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crossview.data import mild
from crossview.data.case import Case
from crossview.data.mild import MildPlan, mild_batch, mild_plan
from crossview.data.store import Store


def store_of(image, label=None):
    case = Case("a", "a", Path("a"), lambda: image, None if label is None else lambda: label)
    return Store([case], classes=4, channels=len(image))


def made(store, patch, start=None, seed=0, **changed):
    plan = MildPlan(start or (0,) * len(patch), tuple(patch), **changed)
    image, label = mild_batch(store, [0], [plan], patch, torch.Generator().manual_seed(seed))
    return image[0].numpy(), None if label is None else label[0].numpy()


def values(*shape):
    return np.random.default_rng(0).integers(0, 200, shape).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(2, 8)), min_size=2, max_size=3),
    st.integers(0, 1000),
)
def test_a_plan_of_nothing_is_a_plain_crop(axes, seed):
    shape, patch = zip(*axes, strict=True)
    image, label = values(2, *shape), values(*shape).astype(np.uint8) % 4
    start = mild_plan(shape, patch, np.random.default_rng(seed)).start
    found, classes = made(store_of(image, label), patch, start)
    before = [
        (max(0, -first), max(0, first + out - side))
        for first, side, out in zip(start, shape, patch, strict=True)
    ]
    inside = tuple(
        slice(max(first, 0), max(first, 0) + out) for first, out in zip(start, patch, strict=True)
    )
    np.testing.assert_allclose(found, np.pad(image, [(0, 0), *before])[:, *inside], atol=1e-2)
    np.testing.assert_array_equal(classes, np.pad(label, before)[inside])


@pytest.mark.parametrize("shape", [(41, 33), (41, 33, 9)])
def test_a_turn_is_scipys_and_the_label_goes_with_it(shape):
    image = ndimage.gaussian_filter(values(*shape), 3)
    label = (image > np.median(image)).astype(np.uint8)
    found, classes = made(store_of(image[None], label), shape, angle=15)
    expected = ndimage.rotate(image, -15, axes=(0, 1), reshape=False, order=1, mode="nearest")
    inner = (0, slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(found[inner], expected[inner[1:]], atol=0.5)
    agree = (found[0] > np.median(image)) == (classes == 1)
    assert agree.mean() > 0.97


@pytest.mark.parametrize("scale", mild.SCALE)
def test_a_scale_makes_structures_larger_or_smaller(scale):
    places = np.indices((40, 40, 40)) - 19.5
    label = ((places**2).sum(0) < 100).astype(np.uint8)
    _, classes = made(store_of(label[None].astype(np.float32), label), (40, 40, 40), scale=scale)
    assert (classes == 1).sum() / label.sum() == pytest.approx(scale**3, rel=0.05)


def test_beyond_an_item_its_border_goes_on():
    store = store_of(np.full((1, 20, 20), 7, np.float32), np.full((20, 20), 3, np.uint8))
    image, label = made(store, (20, 20), angle=15, scale=0.85)
    np.testing.assert_allclose(image, 7, atol=1e-5)
    assert (label == 3).all()


def test_intensities():
    image = values(1, 16, 16) / 100
    store = store_of(image)
    brighter, contrast, gamma = (
        made(store, (16, 16), **{name: value})[0]
        for name, value in {"brightness": 0.2, "contrast": 1.2, "gamma": 1.3}.items()
    )
    np.testing.assert_allclose(brighter, image + 0.2, atol=1e-5)
    np.testing.assert_allclose(contrast, (image - image.mean()) * 1.2 + image.mean(), atol=1e-5)
    np.testing.assert_allclose([gamma.min(), gamma.max()], [image.min(), image.max()], atol=1e-5)
    assert gamma.mean() < image.mean()
    noisy, same, other = (made(store, (16, 16), seed=seed, noise=0.1)[0] for seed in (1, 1, 2))
    assert (noisy - image).std() == pytest.approx(0.1, rel=0.15)
    np.testing.assert_array_equal(noisy, same)
    assert not np.array_equal(noisy, other)


def test_an_image_of_one_value_stays_finite():
    image, _ = made(store_of(np.zeros((1, 12, 12), np.float32)), (8, 8), gamma=1.3, angle=10)
    assert not image.any()


def test_draws_stay_within_their_ranges_and_differ():
    plans = [
        mild_plan((30, 30, 30), (16, 16, 16), np.random.default_rng(seed)) for seed in range(200)
    ]
    for name, low, high in [
        ("angle", -15, 15),
        ("scale", 0.85, 1.15),
        ("contrast", 0.8, 1.2),
        ("brightness", -0.2, 0.2),
        ("noise", 0, 0.1),
    ]:
        drawn = [getattr(plan, name) for plan in plans]
        assert low <= min(drawn) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(drawn) <= high
    assert {plan.start[0] for plan in plans} == set(range(15))
