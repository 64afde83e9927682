"""Crops, turns and resizing against plain numpy and scipy, written from the published semantics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from tests.helpers import golden_numbers
from torch.utils._python_dispatch import TorchDispatchMode

from crossview.data import crops, slices
from crossview.data.case import Case
from crossview.data.crops import CropPlan, crop_plan
from crossview.data.slices import ResizePlan, resize_index, resize_plan
from crossview.data.store import Store

sides = st.integers(1, 14)
seeds = st.integers(0, 2**32)


def store_of(*shapes, channels=1, levels=50, labelled=True, device="cpu"):
    """A store of cases with values that all differ from 0, and their arrays."""
    generator = np.random.default_rng(sum(map(sum, shapes)))
    images = [
        generator.integers(1, levels, (channels, *shape)).astype(np.float32) for shape in shapes
    ]
    labels = [generator.integers(1, 4, shape).astype(np.uint8) for shape in shapes]
    cases = [
        Case(
            str(n),
            str(n),
            None,
            lambda image=image: image,
            (lambda label=label: label) if labelled else None,
        )
        for n, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    return Store(cases, classes=4, channels=channels, device=device), images, labels


class Recorded:
    """A numpy generator that notes what was drawn, so that a reference can use the same numbers."""

    def __init__(self, seed):
        self.generator, self.drawn = np.random.default_rng(seed), []

    def integers(self, *bounds):
        self.drawn.append(int(self.generator.integers(*bounds)))
        return self.drawn[-1]


def reference_crop(array, patch, drawn, *, released, rot90_flip):
    """Turn and flip the whole array, pad it, cut it: plainly, in the published order."""
    drawn = list(drawn)
    if rot90_flip:
        array = np.flip(np.rot90(array, drawn.pop(0)), axis=drawn.pop(0))
    if not released:
        missing = [max(out - side, 0) for side, out in zip(array.shape, patch, strict=True)]
        array = np.pad(array, [(n // 2, n - n // 2) for n in missing])
    elif any(side <= out for side, out in zip(array.shape, patch, strict=True)):
        array = np.pad(
            array,
            [
                (max((out - side) // 2 + 3, 0),) * 2
                for side, out in zip(array.shape, patch, strict=True)
            ],
        )
    return array[tuple(slice(start, start + out) for start, out in zip(drawn, patch, strict=True))]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(sides, sides), min_size=2, max_size=3),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 2]),
    seeds,
)
def test_crop_equals_turn_pad_cut_on_the_whole(axes, released, rot90_flip, channels, seed):
    shape, patch = zip(*axes, strict=True)
    store, images, labels = store_of(shape, channels=channels)
    recorded = Recorded(seed)
    plan = crop_plan(shape, patch, released=released, rot90_flip=rot90_flip, generator=recorded)
    image, label = torch.empty((channels, *patch)), torch.empty(patch, dtype=torch.int64)
    crops.crop_image(store, 0, plan, image)
    crops.crop_label(store, 0, plan, label)
    reference = [
        reference_crop(array, patch, recorded.drawn, released=released, rot90_flip=rot90_flip)
        for array in (*images[0], labels[0])
    ]
    assert np.array_equal(image, reference[:-1])
    assert np.array_equal(label, reference[-1])


@pytest.mark.parametrize(
    ("side", "padding"), [(8, 3), (9, 2), (10, 2), (12, 1), (13, 0), (7, 3), (5, 4), (4, 5)]
)
def test_released_padding_of_an_axis(side, padding):
    assert crops.released_padding((8, side), (8, 8)) == (3, padding)


def test_released_padding_is_left_out_where_no_side_is_short():
    assert crops.released_padding((9, 12), (8, 8)) == (0, 0)


def corners(shape, patch, released):
    generator = np.random.default_rng(0)
    return {
        crop_plan(shape, patch, released=released, rot90_flip=False, generator=generator).start
        for _ in range(400)
    }


def test_the_last_corner_is_drawn_but_not_in_the_released_rule():
    assert corners((11, 9), (8, 8), released=False) == {(i, j) for i in range(4) for j in range(2)}
    assert corners((11, 9), (8, 8), released=True) == {(i, 0) for i in range(3)}


def test_an_item_as_large_as_the_patch_is_taken_whole():
    assert corners((8, 8), (8, 8), released=False) == {(0, 0)}


def test_rot90_flip_gives_the_four_reflections_alike():
    square = np.arange(9).reshape(3, 3)
    store, *_ = store_of((3, 3))
    store.labels = torch.arange(9, dtype=torch.uint8)
    counts = {}
    generator = np.random.default_rng(0)
    for _ in range(2000):
        out = torch.empty((3, 3), dtype=torch.int64)
        crops.crop_label(
            store,
            0,
            crop_plan((3, 3), (3, 3), released=False, rot90_flip=True, generator=generator),
            out,
        )
        counts[tuple(out.flatten().tolist())] = counts.get(tuple(out.flatten().tolist()), 0) + 1
    reflections = [square[::-1], square[:, ::-1], square.T, square[::-1, ::-1].T]
    assert set(counts) == {tuple(reflection.ravel()) for reflection in reflections}
    assert min(counts.values()) > 430


def test_a_plan_of_nothing_changes_nothing():
    store, images, _ = store_of((5, 4, 3))
    out = torch.empty((1, 5, 4, 3))
    crops.crop_image(store, 0, CropPlan((0, 0, 0), (5, 4, 3)), out)
    assert np.array_equal(out, images[0])


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
