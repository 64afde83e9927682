"""The scans to label next: doubt, looks, and the choice among them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossview.data.case import Case
from crossview.evaluation.doubt import Doubt, choose, describe, doubt
from crossview.inference.predict import Prediction


def case(name):
    return Case(
        name, name, Path(f"{name}.nii.gz"), read_image=lambda: np.zeros((1, 4, 4), np.float32)
    )


def prediction(probability, views=()):
    probability = np.asarray(probability, np.float32)
    label = probability.argmax(0).astype(np.uint8)
    named = {f"view{i}": np.asarray(view, np.uint8) for i, view in enumerate(views, 1)}
    return Prediction(label, probability, named, label, np.zeros(label.shape, np.float32))


def sure(label, classes=2):
    return np.eye(classes, dtype=np.float32)[np.asarray(label)].transpose(2, 0, 1)


SQUARE = np.zeros((8, 8), int)
SQUARE[2:6, 2:6] = 1
SHIFTED = np.roll(SQUARE, 2, axis=0)


class TestDoubt:
    def test_views_that_agree_leave_none(self):
        assert doubt(prediction(sure(SQUARE), [SQUARE, SQUARE])) == 0

    def test_views_that_differ_leave_one_less_their_dice(self):
        assert doubt(prediction(sure(SQUARE), [SQUARE, SHIFTED])) == pytest.approx(0.5)

    def test_a_teacher_that_averages_its_student_is_no_second_opinion(self):
        both = replace(
            prediction(0.8 * sure(SQUARE) + 0.2 * (1 - sure(SQUARE)), [SQUARE, SQUARE]), peers=False
        )
        assert doubt(both) == pytest.approx(doubt(replace(both, views={})))
        assert doubt(both) > 0.1

    def test_three_views_count_by_pairs(self):
        assert doubt(prediction(sure(SQUARE), [SQUARE, SQUARE, SHIFTED])) == pytest.approx(
            (0 + 0.5 + 0.5) / 3
        )

    def test_a_sure_network_has_none_and_an_unsure_one_more(self):
        assert doubt(prediction(sure(SQUARE))) == pytest.approx(0)
        unsure = 0.6 * sure(SQUARE) + 0.4 * (1 - sure(SQUARE))
        assert doubt(prediction(unsure)) == pytest.approx(
            1 - 2 * 0.6 * 16 / (0.6 * 16 + 0.4 * 48 + 16)
        )

    def test_nothing_found_is_full_doubt(self):
        empty = np.zeros((8, 8), int)
        assert doubt(prediction(sure(empty))) == 1
        assert doubt(prediction(sure(empty), [empty, empty])) == 1

    def test_every_class_counts_the_same(self):
        two = SQUARE.copy()
        two[0, 0] = 2
        other = SQUARE.copy()
        other[7, 7] = 2
        assert doubt(prediction(sure(two, 3), [two, other])) == pytest.approx(0.5)


@given(st.integers(0, 2**32 - 1))
def test_doubt_lies_between_0_and_1(seed):
    random = np.random.default_rng(seed)
    probability = random.dirichlet([0.3] * 3, size=(5, 5)).transpose(2, 0, 1)
    views = random.integers(0, 3, (2, 5, 5))
    assert 0 <= doubt(prediction(probability, views)) <= 1
    assert 0 <= doubt(prediction(probability)) <= 1


class TestDescribe:
    def test_it_does_not_depend_on_the_scale_of_intensities(self):
        image = np.random.default_rng(0).normal(size=(1, 20, 17, 9)).astype(np.float32)
        label = np.zeros((20, 17, 9), np.uint8)
        np.testing.assert_allclose(
            describe(image, label), describe(3 * image + 7, label), atol=1e-5
        )

    def test_shapes_may_differ(self):
        small, large = (
            describe(np.ones((1, *shape)), np.ones(shape)) for shape in ((5, 6, 7), (30, 20, 10))
        )
        np.testing.assert_allclose(small, large, atol=1e-6)
        assert describe(np.ones((2, 9, 9)), np.ones((9, 9))).shape == (3 * 64,)

    def test_another_place_of_the_organ_is_another_look(self):
        image = np.zeros((1, 8, 8))
        assert np.linalg.norm(describe(image, SQUARE) - describe(image, SHIFTED)) > 0.1


class TestChoose:
    def test_the_first_is_the_most_doubtful_and_all_are_different_scans(self):
        random = np.random.default_rng(1)
        found = [
            Doubt(case(f"c{i}"), float(score), random.normal(size=3))
            for i, score in enumerate(random.random(40))
        ]
        chosen = choose(found, [], 5)
        assert chosen[0].case == max(found, key=lambda each: each.score).case.id
        assert len({each.case for each in chosen}) == 5
        assert [each.rank for each in chosen] == [1, 2, 3, 4, 5]
        assert all(
            each.place <= 15 for each in chosen
        )  # of the 15 most doubtful: three times as many as asked for

    def test_it_does_not_name_two_alike(self):
        twins = [Doubt(case(f"twin{i}"), 0.9 - i / 100, np.array([1.0, 0.0])) for i in range(4)]
        other = Doubt(case("other"), 0.5, np.array([0.0, 1.0]))
        assert [each.case for each in choose([*twins, other], [], 2)] == ["twin0", "other"]

    def test_it_keeps_away_from_what_is_labelled(self):
        found = [
            Doubt(case(name), 0.9, np.array(place))
            for name, place in {"a": [0.0], "b": [5.0], "c": [9.0]}.items()
        ]
        chosen = choose(found, [("seen", np.array([10.0]))], 2)
        assert [each.case for each in chosen] == ["a", "b"]
        assert chosen[1].nearest == "a" or chosen[1].nearest == "seen"
        assert chosen[1].distance == pytest.approx(5)

    def test_more_than_there_are(self):
        found = [Doubt(case("a"), 0.2, np.zeros(2)), Doubt(case("b"), 0.4, np.ones(2))]
        assert [each.case for each in choose(found, [], 5)] == ["b", "a"]
        assert choose([], [], 3) == []

    def test_equal_doubts_keep_their_order(self):
        found = [Doubt(case(name), 1.0, np.zeros(1)) for name in "cab"]
        assert [each.case for each in choose(found, [], 3)] == ["c", "a", "b"]
