"""Crops centred on foreground: position, number, the other crops; how often uniform ones hit."""

import re

import numpy as np
import pytest
import torch

from crossview.core.errors import UserError
from crossview.data.crops import CropPlan
from crossview.data.foreground import MOST_PLACES, places_of, relative, share_for, shares_met
from crossview.data.sources.folder import Options
from crossview.data.store import Store
from crossview.data.stream import Stream
from crossview.recipe.resolve import parse

SHAPE = (40, 36, 32)


def label_of(number: int) -> np.ndarray:
    label = np.zeros(SHAPE, np.uint8)
    label[2 + number : 5 + number, 30:33, 4:7] = 1
    label[35, 3, 20 + number] = 2
    return label


def image_of(label: np.ndarray, number: int) -> np.ndarray:
    return (np.random.default_rng(number).integers(0, 9, (1, *label.shape)) + 10 * label).astype(
        np.float32
    )


@pytest.fixture
def make_stream(make_case):
    def make(share, labels=None, *, patch=(8, 8, 8), unlabelled=2, slices=False, **changed):
        labels = [label_of(number) for number in range(4)] if labels is None else labels
        cases = [
            make_case(str(number), image_of(label, number), label)
            for number, label in enumerate(labels)
        ]
        without = [
            make_case(
                f"u{number}", image_of(label_of(number), 9 + number), label_of(number)
            ).without_label()
            for number in range(unlabelled)
        ]
        options = {
            "patch": patch,
            "sampling": "crop",
            "augmentation": "none",
            "labelled_batch": 2,
            "unlabelled_batch": 2,
            "seed": 4,
        } | changed
        stores = [
            Store(some, classes=3, channels=1, slices=slices) if some else None
            for some in (cases, without)
        ]
        return Stream(*stores, foreground_share=share, **options)

    return make


def test_places_are_exact_bounded_and_the_same_every_time():
    label = label_of(0)
    found = places_of(label)
    assert {value: len(places) for value, places in found.items()} == {1: 27, 2: 1}
    for value, places in found.items():
        np.testing.assert_array_equal(places, np.flatnonzero(label == value))
    large = np.repeat(np.arange(2, dtype=np.uint8), 5 * MOST_PLACES).reshape(100, -1)
    some = places_of(large)[1]
    assert len(set(some.tolist())) == MOST_PLACES
    assert (large.reshape(-1)[some] == 1).all()
    np.testing.assert_array_equal(some, places_of(large)[1])
    assert places_of(np.zeros((3, 3), np.uint8)) == {}


@pytest.mark.parametrize("augmentation", ["none", "rot90_flip", "mild"])
@pytest.mark.parametrize("sampling", ["crop", "crop_released"])
def test_every_centred_crop_holds_a_class_and_each_class_as_often(
    make_stream, augmentation, sampling
):
    if augmentation == "mild" and sampling != "crop":
        pytest.skip("mild is of sampling crop")
    batches = [
        make_stream(1.0, augmentation=augmentation, sampling=sampling).batch(
            0, step, unlabelled=False
        )
        for step in range(40)
    ]
    labels = torch.cat([batch.label for batch in batches])
    held = [[bool((label == value).any()) for label in labels] for value in (1, 2)]
    assert all(one or other for one, other in zip(*held, strict=True))
    assert (
        20 < sum(held[1]) < 60
    )  # 40 of 80 in the mean, though class 2 is a single voxel and class 1 has 27
    if augmentation != "mild":
        assert all(torch.equal(batch.label > 0, batch.image[:, 0] >= 10) for batch in batches)
    uniform = torch.cat(
        [make_stream(0.0).batch(0, step, unlabelled=False).label for step in range(40)]
    )
    assert sum(bool(label.any()) for label in uniform) < 20


def test_the_box_is_centred_and_stays_within_the_item(make_stream):
    centres = make_stream(1.0).centres
    for draw in range(30):
        box = centres.moved(CropPlan((1, -2, 3), (8, 40, 8)), 0, np.random.default_rng(draw))
        assert box.start[1] == -2  # longer than the item: its place is kept
        assert all(
            0 <= start <= side - 8 for start, side in zip(box.start[::2], SHAPE[::2], strict=True)
        )
    single = {
        draw: centres.moved(CropPlan((0, 0, 0), (8, 8, 8)), 3, np.random.default_rng(draw)).start
        for draw in range(30)
    }
    assert (
        (31, 0, 19) in single.values()
    )  # the voxel (35, 3, 23): centred on axes 0 and 2, held back by the border on axis 1


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.3333, 33), (0.5, 50), (1.0, 100)])
def test_the_share_is_kept_and_spread_evenly(make_stream, share, expected):
    stream = make_stream(share)
    centred = [centred for step in range(50) for centred in stream._centred(step)]
    assert sum(centred) == pytest.approx(expected, abs=1)
    if share == 0.3333:
        assert max(np.diff(np.flatnonzero(centred))) <= 4


@pytest.mark.parametrize("augmentation", ["none", "rot90_flip", "mild"])
def test_the_other_crops_are_those_of_share_0(make_stream, augmentation):
    """And so are all of the unlabelled: their labels are not known."""
    with_, without = (
        make_stream(0.5, augmentation=augmentation),
        make_stream(0.0, augmentation=augmentation),
    )
    changed = 0
    for step in range(12):
        one, other = with_.batch(1, step, unlabelled=True), without.batch(1, step, unlabelled=True)
        assert torch.equal(one.unlabelled, other.unlabelled)
        for slot, centred in enumerate(with_._centred(step)):
            same = torch.equal(one.label[slot], other.label[slot])
            assert centred or same
            if augmentation == "none":
                assert centred or torch.equal(one.image[slot], other.image[slot])
            changed += not same
    assert changed > 6


def test_a_batch_is_a_function_of_the_step(make_stream):
    stream = make_stream(0.5, augmentation="mild")
    expected = stream.batch(1, 9, unlabelled=False)
    stream.batch(0, 2, unlabelled=False)
    for again in (stream, make_stream(0.5, augmentation="mild")):
        assert torch.equal(again.batch(1, 9, unlabelled=False).image, expected.image)


def test_slices_without_foreground_give_way(make_stream):
    stream = make_stream(1.0, patch=(16, 16), slices=True, unlabelled=0)
    for step in range(20):
        positions = stream.labelled_positions(0, step)
        labels = stream.batch(0, step, unlabelled=False).label
        assert all(stream.labelled.label(position).any() for position in positions)
        assert all(bool(label.any()) for label in labels)


def test_labels_of_background_alone_leave_nothing_to_centre_on(make_stream):
    stream = make_stream(1.0, [np.zeros(SHAPE, np.uint8)] * 2)
    assert torch.equal(
        stream.batch(0, 0, unlabelled=False).image,
        make_stream(0.0, [np.zeros(SHAPE, np.uint8)] * 2).batch(0, 0, unlabelled=False).image,
    )


def test_the_share_of_uniform_crops_that_hold_a_class():
    """One voxel at index 5 of 0..39 is held by the crops of side 8 that begin at 0 to 5, of 33."""
    label = np.zeros((40, 8, 8), np.uint8)
    label[5, 3, 3] = 1
    at = relative(places_of(label), label.shape)
    assert shares_met([at], [label.shape], (8, 8, 8))[1] == pytest.approx(6 / 33, abs=0.03)
    assert shares_met([at], [label.shape], (40, 8, 8)) == {1: 1.0}
    assert shares_met([at], [label.shape], (64, 64, 64)) == {1: 1.0}
    assert shares_met([at], [(80, 8, 8)], (16, 8, 8))[1] == pytest.approx(
        12 / 65, abs=0.03
    )  # the same scan with finer voxels
    assert shares_met([at, {}], [label.shape, label.shape], (8, 8, 8))[1] == pytest.approx(
        6 / 33, abs=0.03
    )  # of scans that have it
    assert shares_met([at], [label.shape], (1, 8, 8))[1] == pytest.approx(
        1 / 40, abs=0.02
    )  # slices


@pytest.mark.parametrize(
    ("met", "share", "told"),
    [({1: 0.99, 2: 0.9}, 0.0, "90%"), ({1: 1.0, 2: 0.2}, 0.3333, "20% .* class 2"), ({}, 0.0, "")],
)
def test_the_choice_states_its_reason(met, share, told):
    found, reason = share_for(met)
    assert found == share
    assert re.search(told, reason)


def test_whole_slices_are_not_centred():
    table = {
        "source": "folder",
        "patch": [8, 8],
        "classes": 2,
        "augmentation": "none",
        "sampling": "resize",
        "foreground_share": 0.3,
    }
    with pytest.raises(UserError, match="foreground_share applies to crops"):
        parse(Options, table, "data")
    with pytest.raises(UserError, match="foreground_share"):
        parse(Options, table | {"sampling": "crop", "foreground_share": 1.5}, "data")
