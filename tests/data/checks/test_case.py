"""Problems of a case: all are reported, with the case's name and file."""

import numpy as np
import pytest

from crossview.data.checks.case import read_case

IMAGE, LABEL = np.zeros((1, 4, 3, 2), np.float32), np.zeros((4, 3, 2), np.uint8)


def with_value(array, value):
    array = array.copy()
    array.flat[1] = value
    return array


def check(make_case, image, label):
    return read_case(make_case("case", image, label), classes=3, channels=1).problems


@pytest.mark.parametrize("label", [LABEL, LABEL + 2, None])
def test_a_sound_case_has_no_problems(make_case, label):
    assert check(make_case, IMAGE, label) == []


@pytest.mark.parametrize(
    ("image", "label", "what"),
    [
        (IMAGE[:, :, :2], LABEL, "differ in shape"),
        (np.zeros((2, 4, 3, 2), np.float32), LABEL, "unexpected shape"),
        (np.zeros((1, 4), np.float32), np.zeros(4, np.uint8), "unexpected shape"),
        (with_value(IMAGE, np.nan), LABEL, "not numbers"),
        (with_value(IMAGE, -np.inf), LABEL, "not numbers"),
        (with_value(with_value(IMAGE, np.inf)[..., ::-1], -np.inf), LABEL, "not numbers"),
        (IMAGE, with_value(LABEL, 3), "outside the classes"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_each_problem_is_named(make_case, image, label, what):
    (problem,) = check(make_case, image, label)
    assert what in problem.what
    assert problem.where == "case (case.h5)"
    assert problem.found
    assert problem.expected
    assert problem.fix


def test_values_at_the_edge_of_float32_are_finite(make_case):
    assert check(make_case, np.full((1, 4, 3, 2), np.finfo(np.float32).max), LABEL) == []


def test_all_problems_are_collected(make_case):
    assert len(check(make_case, with_value(IMAGE, np.nan), np.full((1, 1, 1), 9, np.uint8))) == 3
