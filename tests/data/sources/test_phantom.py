"""Phantoms: the same for the same seed, different from case to case, quick to make."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from crossview.core.errors import UserError
from crossview.data.sources import phantom
from crossview.data.store import Store

Options = partial(phantom.Options, size=20)


def test_counts_and_roles():
    splits = phantom.splits(None, Options(labelled=4, validation=1, unlabelled=5, test=2))
    assert [
        len(cases) for cases in (splits.labelled, splits.validation, splits.unlabelled, splits.test)
    ] == [3, 1, 5, 2]
    assert (
        len(
            {
                case.id
                for cases in (splits.labelled, splits.validation, splits.unlabelled, splits.test)
                for case in cases
            }
        )
        == 11
    )
    assert not any(case.labelled for case in splits.unlabelled)
    assert "made-up" in splits.notes[0]


@pytest.mark.parametrize("classes", [2, 3])
def test_images_are_normalised_and_hold_every_class(classes):
    for case in phantom.splits(None, Options(labelled=8, classes=classes)).labelled:
        image, label = case.read_image(), case.read_label()
        assert (image.shape, image.dtype, label.shape, label.dtype) == (
            (1, 20, 20, 20),
            np.float32,
            (20, 20, 20),
            np.uint8,
        )
        assert abs(image.mean()) < 1e-4
        assert image.std() == pytest.approx(1, abs=1e-3)
        assert np.unique(label).tolist() == list(range(classes))
        assert 0.01 < (label == 1).mean() < 0.3


def test_the_chamber_is_brighter_than_its_wall():
    for number in range(10):
        image, label = phantom.phantom(Options(classes=3), "train", number)
        assert image[0][label == 1].mean() > image[0][label == 2].mean()


def test_a_case_is_the_same_whenever_it_is_read():
    first, second = (phantom.splits(None, Options(labelled=3, unlabelled=n)) for n in (2, 9))
    assert np.array_equal(first.labelled[1].read_image(), second.labelled[1].read_image())
    assert np.array_equal(first.labelled[1].read_image(), first.labelled[1].read_image())
    more = phantom.splits(None, Options(labelled=6))
    assert np.array_equal(first.test[0].read_image(), more.test[0].read_image())


def test_cases_seeds_and_splits_differ():
    images = [
        phantom.phantom(Options(seed=seed), split, number)[0]
        for seed in (0, 1)
        for split in ("train", "test")
        for number in (0, 1)
    ]
    assert len({image.tobytes() for image in images}) == 8


def test_the_largest_seed_works_and_a_larger_one_is_refused():
    assert phantom.phantom(Options(seed=2**63 - 1), "train", 0)[0].shape == (1, 20, 20, 20)
    for seed in (2**63, 2**64):
        with pytest.raises(ValidationError, match="less than 9223372036854775808"):
            Options(seed=seed)


@pytest.mark.parametrize("key", ["noise", "bias", "lookalikes"])
def test_each_difficulty_can_be_turned_off(key):
    plain, _ = phantom.phantom(Options(**{key: 0}), "train", 0)
    default, _ = phantom.phantom(Options(), "train", 0)
    assert not np.array_equal(plain, default)


def test_a_folder_is_refused():
    with pytest.raises(UserError, match="phantoms need no data"):
        phantom.splits(Path("somewhere"), Options(labelled=1))


def test_the_store_takes_them():
    splits = phantom.splits(None, Options(labelled=2))
    assert len(Store(splits.labelled, classes=splits.classes, channels=splits.channels)) == 2
