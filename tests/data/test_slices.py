"""Turns and resizing of slices against numpy and scipy, written from the published semantics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from tests.helpers import golden_numbers
from tests.helpers.made_store import store_of
from torch.utils._python_dispatch import TorchDispatchMode

from crossview.data import slices
from crossview.data.slices import ResizePlan, resize_index, resize_plan


def golden_zooms():
    return [name for name in golden_numbers.load("cml_inference") if name.startswith("zoom_")]


@pytest.mark.parametrize("name", golden_zooms())
def test_resize_index_equals_scipy_but_for_its_lost_border(name):
    source, target = (int(part) for part in name.split("_")[1:])
    expected = golden_numbers.load("cml_inference")[name]
    expected = np.where(expected < 0, source - 1, expected)
    assert np.array_equal(resize_index(source, target), expected)


@given(st.integers(1, 600), st.integers(1, 600))
def test_resize_index_keeps_corners_and_order(source, target):
    index = resize_index(source, target)
    assert len(index) == target
    assert index[0] == 0
    assert (np.diff(index) >= 0).all()
    assert index[-1] == (source - 1 if target > 1 else 0)


def reference_slice(array, plan, patch):
    """Augment the whole slice as numpy and scipy do, then pick rows and columns."""
    array = np.rot90(array, plan.turns)
    array = array if plan.flip is None else np.flip(array, plan.flip)
    if plan.angle:
        array = ndimage.rotate(array, plan.angle, order=0, reshape=False)
    return array[
        np.ix_(resize_index(array.shape[0], patch[0]), resize_index(array.shape[1], patch[1]))
    ]


plans = st.one_of(
    st.just(ResizePlan()),
    st.builds(ResizePlan, turns=st.integers(0, 3), flip=st.sampled_from([0, 1])),
    st.builds(ResizePlan, angle=st.integers(-20, 19)),
)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60), plans), min_size=1, max_size=4),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.sampled_from([1, 2]),
    st.sampled_from([50, 10**6]),
)
def test_resize_equals_numpy_and_scipy(items, patch, channels, levels):
    shapes = [item[:2] for item in items]
    store, images, labels = store_of(*shapes, channels=channels, levels=levels)
    positions = list(range(len(items)))[::-1]
    chosen = [items[position][2] for position in positions]
    image, label = slices.resize_batch(store, positions, chosen, patch)
    assert (image.dtype, label.dtype) == (torch.float32, torch.int64)
    for slot, position in enumerate(positions):
        stored = store.decode(store.stored(position), position).numpy()
        assert np.array_equal(
            image[slot], [reference_slice(channel, chosen[slot], patch) for channel in stored]
        )
        assert np.array_equal(label[slot], reference_slice(labels[position], chosen[slot], patch))
        np.testing.assert_allclose(stored, images[position], rtol=2**-11)


class HostCopies(TorchDispatchMode):
    """Counts the tensors that leave the computer's memory."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        from_host = any(
            isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.ndim
            for value in args
        )
        self.count += (
            from_host and isinstance(result, torch.Tensor) and result.device.type == "meta"
        )
        return result


def test_a_batch_is_resized_with_one_copy_to_the_device():
    store, *_ = store_of((20, 30), (25, 18), (30, 30), channels=2, device="meta")
    chosen = [ResizePlan(angle=-7), ResizePlan(turns=1, flip=0), ResizePlan(angle=12)]
    with HostCopies() as copies:
        image, label = slices.resize_batch(store, [2, 0, 1], chosen, (16, 16))
    assert (image.shape, label.shape, image.device.type) == ((3, 2, 16, 16), (3, 16, 16), "meta")
    assert copies.count == 1


@pytest.mark.parametrize("angle", range(-20, 20))
def test_every_angle_on_a_slice_of_published_size(angle):
    store, images, labels = store_of((216, 256))
    image, label = slices.resize_batch(store, [0], [ResizePlan(angle=angle)], (256, 256))
    assert np.array_equal(
        image[0, 0], reference_slice(images[0][0], ResizePlan(angle=angle), (256, 256))
    )
    assert np.array_equal(label[0], reference_slice(labels[0], ResizePlan(angle=angle), (256, 256)))


def test_resize_without_labels():
    store, *_ = store_of((6, 5), labelled=False)
    assert slices.resize_batch(store, [0], [ResizePlan()], (4, 4))[1] is None


def test_the_published_shares_of_augmentations():
    generator = np.random.default_rng(0)
    drawn = [resize_plan("rot90_flip_or_rotate", generator) for _ in range(8000)]
    turned = sum(plan.flip is not None for plan in drawn) / len(drawn)
    untouched = sum(plan == ResizePlan() for plan in drawn) / len(drawn)
    assert turned == pytest.approx(0.5, abs=0.02)
    assert untouched == pytest.approx(0.25 + 0.25 / 40, abs=0.02)
    assert {plan.angle for plan in drawn} == set(range(-20, 20))
    assert {(plan.turns, plan.flip) for plan in drawn if plan.flip is not None} == {
        (k, axis) for k in range(4) for axis in (0, 1)
    }


def test_no_augmentation_and_always_turned():
    generator = np.random.default_rng(0)
    assert resize_plan("none", generator) == ResizePlan()
    assert all(resize_plan("rot90_flip", generator).flip is not None for _ in range(20))
