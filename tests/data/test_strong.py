"""Strong augmentation: the identity, turns, bends, poorer images, and labels that go with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crossview.core.partial import IGNORED, PartialLabels
from crossview.data import strong
from crossview.data.case import Case
from crossview.data.mild import MildPlan, mild_batch
from crossview.data.store import Store
from crossview.data.strong import StrongPlan, strong_batch, strong_plan

SPACE = ("angles", "scale", "bend")


def store_of(image, label=None, partial=None):
    read = None if label is None else lambda: label
    case = Case("a", "a", Path("a"), lambda: image, read, partial=partial)
    return Store([case], classes=4, channels=len(image))


def made(store, plan, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image, label = strong_batch(store, [0], [plan], plan.size, generator)
    return image[0].numpy(), None if label is None else label[0].numpy()


def smooth(*shape, sigma=3.0):
    noise = np.random.default_rng(0).normal(size=shape)
    image = ndimage.gaussian_filter(noise, sigma).astype(np.float32)
    return image / image.std()


def drawn(shape, patch, seed, *, space=True, light=True):
    """Return a plan with all of its transforms in space, of the light, or both."""
    always = dict.fromkeys(strong.CHANCE, 1.0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(strong, "CHANCE", always)
        plan = strong_plan(shape, patch, np.random.default_rng(seed))
    plain = StrongPlan(plan.start, plan.size)
    if not space:
        plan = replace(plan, **{name: getattr(plain, name) for name in SPACE})
    return plan if light else replace(plain, **{name: getattr(plan, name) for name in SPACE})


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(2, 8)), min_size=2, max_size=3),
    st.integers(0, 1000),
)
def test_a_plan_of_nothing_is_milds_plan_of_nothing(axes, seed):
    shape, patch = zip(*axes, strict=True)
    image = np.random.default_rng(0).integers(0, 200, (2, *shape)).astype(np.float32)
    store = store_of(image, (image[0] % 4).astype(np.uint8))
    start = strong_plan(shape, patch, np.random.default_rng(seed)).start
    found = made(store, StrongPlan(start, patch))
    expected = mild_batch(store, [0], [MildPlan(start, patch)], patch, torch.Generator())
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other[0].numpy(), atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "angles"), [((41, 33), (30,)), ((31, 35, 33), (25, -20, 15)), ((31, 35, 33), (0, 30))]
)
def test_a_turn_is_scipys(shape, angles):
    image = smooth(*shape)
    plan = StrongPlan((0,) * len(shape), shape, angles=angles, scale=1.2)
    middle = (np.array(shape) - 1) / 2
    matrix = plan.turn()
    assert abs(np.linalg.det(matrix)) == pytest.approx(1.2 ** -len(shape))
    expected = ndimage.affine_transform(
        image, matrix, middle - matrix @ middle, order=1, mode="nearest"
    )
    np.testing.assert_allclose(made(store_of(image[None]), plan)[0][0], expected, atol=0.02)


def test_a_turn_of_one_plane_turns_it_like_milds():
    for angle in (-20, 35):
        plan = StrongPlan((0, 0, 0), (8, 8, 8), angles=(angle, 0, 0))
        expected = MildPlan((0, 0, 0), (8, 8, 8), angle=angle).turn()
        np.testing.assert_allclose(plan.turn(), expected)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(40, 48), (24, 30, 26)]))
def test_a_label_goes_with_its_image_and_no_class_is_made_up(seed, shape):
    image = smooth(*shape)
    label = np.where(image > 0.3, 3, 0).astype(np.uint8)
    label[image < -0.8] = IGNORED
    plan = drawn(shape, [side - 4 for side in shape], seed, light=False)
    found, classes = made(store_of(image[None], label, PartialLabels()), plan)
    assert set(np.unique(classes)) <= {0, 3, IGNORED}
    for value, agrees in ((3, found[0] > 0.3), (IGNORED, found[0] < -0.8)):
        assert ((classes == value) == agrees).mean() > 0.94


def test_a_bend_moves_each_voxel_by_its_nodes():
    axes = np.stack(np.meshgrid(*[np.arange(30.0)] * 2, indexing="ij")).astype(np.float32)
    bend = np.zeros((2, strong.NODES, strong.NODES), np.float32)
    bend[0], bend[1] = 0.05, -0.02
    found, _ = made(store_of(axes), StrongPlan((5, 5), (20, 20), bend=bend))
    np.testing.assert_allclose(found[0, :, 0], np.arange(5, 25) + 0.05 * 20, atol=1e-2)
    np.testing.assert_allclose(found[1, 0], np.arange(5, 25) - 0.02 * 20, atol=1e-2)


def test_poorer_images():
    image = smooth(1, 20, 22, 18, sigma=1)[0]
    store = store_of(image[None])
    plan = StrongPlan((0, 0, 0), image.shape)
    blurred = made(store, replace(plan, blur=0.8))[0][0]
    expected = ndimage.gaussian_filter(image, 0.8, mode="nearest", radius=3)
    np.testing.assert_allclose(blurred, expected, atol=1e-3)
    coarse = made(store, replace(plan, coarse=0.5))[0][0]
    assert np.abs(np.diff(coarse, axis=0)).mean() < np.abs(np.diff(image, axis=0)).mean()
    assert np.corrcoef(coarse.ravel(), image.ravel())[0, 1] > 0.6
    contrast = made(store, replace(plan, contrast=1.5, brightness=0.3))[0][0]
    np.testing.assert_allclose(
        contrast, (image - image.mean()) * 1.5 + image.mean() + 0.3, atol=5e-3
    )
    plain, inverted = (
        made(store, replace(plan, gamma=1.5, inverted=way))[0][0] for way in (False, True)
    )
    low, spread = image.min(), np.ptp(image)
    np.testing.assert_allclose(plain, ((image - low) / spread) ** 1.5 * spread + low, atol=2e-3)
    other = -(((image.max() - image) / spread) ** 1.5 * spread - image.max())
    np.testing.assert_allclose(inverted, other, atol=2e-3)


def test_noise_is_the_generators_and_the_rest_is_the_plans():
    image = smooth(24, 24, 24)
    store, plan = store_of(image[None]), StrongPlan((0, 0, 0), (24, 24, 24), noise=0.3)
    noisy, same, other = (made(store, plan, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(noisy, same)
    assert (noisy[0] - image).std() == pytest.approx(0.3, rel=0.1)
    assert not np.array_equal(noisy, other)
    plans = [strong_plan((30, 30, 30), (16, 16, 16), np.random.default_rng(7)) for _ in range(2)]
    assert repr(plans[0]) == repr(plans[1])


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_an_image_of_one_value_stays_finite(value):
    store = store_of(np.full((1, 12, 12), value, np.float32))
    for seed in range(20):
        assert np.isfinite(made(store, drawn((12, 12), (8, 8), seed))[0]).all()


def test_draws_stay_within_their_ranges_and_come_as_often_as_stated():
    plans = [
        strong_plan((30, 30, 30), (16, 16, 16), np.random.default_rng(seed)) for seed in range(600)
    ]
    plain = StrongPlan((), ())
    for name, low, high in [
        ("scale", *strong.SCALE),
        ("contrast", *strong.CONTRAST),
        ("gamma", *strong.GAMMA),
        ("brightness", -strong.BRIGHTNESS, strong.BRIGHTNESS),
        ("noise", 0, strong.NOISE),
        ("blur", *strong.BLUR),
        ("coarse", *strong.COARSE),
    ]:
        values = [getattr(plan, name) for plan in plans]
        changed = [value for value in values if value != getattr(plain, name)]
        assert low <= min(changed) < max(changed) <= high, name
        assert len(changed) / len(plans) == pytest.approx(strong.CHANCE[name], abs=0.07), name
    turned = [plan.angles for plan in plans if plan.angles]
    assert len(turned) / len(plans) == pytest.approx(0.5, abs=0.07)
    assert 28 < np.abs(turned).max() <= strong.ANGLE
    assert np.shape(turned)[1] == 3


@pytest.mark.parametrize(("patch", "planes"), [((64, 64), 1), ((64, 64, 16), 1), ((32, 48, 32), 3)])
def test_flat_patches_are_turned_in_their_slices_alone(patch, planes):
    assert len(drawn(patch, patch, 0).angles) == planes
