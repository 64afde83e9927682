"""Crops and their turns against plain numpy, written from the published semantics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.made_store import store_of

from crossview.data import crops
from crossview.data.crops import CropPlan, crop_plan

sides = st.integers(1, 14)
seeds = st.integers(0, 2**32)


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
