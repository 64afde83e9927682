"""The facts of a case: what is measured, what is drawn, what is collected of problems."""

from pathlib import Path

import numpy as np
import pytest

from crossview.data.case import Case
from crossview.data.inspect import MOST_FOREGROUND, inspect, inspect_case
from crossview.errors import Problem, UserError

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.normal(50, 10, (2, 12, 11, 10)).astype(np.float32)
LABEL = RANDOM.integers(0, 3, (12, 11, 10)).astype(np.uint8)


def unreadable():
    raise UserError(Problem("the file is damaged", "file.nii"))


def test_measures_equal_numpy_s(make_case):
    facts = inspect_case(make_case("a", IMAGE, LABEL), 3)
    assert facts.shape == (2, 12, 11, 10)
    assert facts.channels == 2
    assert facts.problems == ()
    for channel in range(2):
        np.testing.assert_allclose(
            facts.percentiles[channel], np.percentile(IMAGE[channel], (0.5, 50, 99.5))
        )
        values = IMAGE[channel].astype(np.float64)
        np.testing.assert_allclose(facts.mean_sd[channel], (values.mean(), values.std()))
        assert facts.extremes[channel] == (values.min(), values.max())
    assert facts.label_counts == {value: int((value == LABEL).sum()) for value in range(3)}


def test_spacing_is_the_case_s(make_case):
    case = make_case("a", IMAGE)
    assert inspect_case(case, None).spacing is None
    spaced = Case(case.id, case.patient, case.file, case.read_image, spacing=(1.0, 2.0, 3.0))
    assert inspect_case(spaced, None).spacing == (1.0, 2.0, 3.0)


def test_all_of_a_small_foreground_is_kept_and_of_a_large_one_a_fixed_draw(make_case):
    small = inspect_case(make_case("a", IMAGE, LABEL), 3).foreground
    np.testing.assert_array_equal(np.sort(small), np.sort(IMAGE[:, LABEL > 0]))
    image = np.arange(40**3, dtype=np.float32).reshape(1, 40, 40, 40)
    label = np.ones((40, 40, 40), np.uint8)
    label[:20] = 0
    one, two = (inspect_case(make_case(name, image, label), 2).foreground for name in "ab")
    assert one.shape == (1, MOST_FOREGROUND)
    np.testing.assert_array_equal(one, two)
    assert one.min() >= 20 * 40 * 40
    assert len(np.unique(one)) == MOST_FOREGROUND


def test_without_a_label_there_is_no_foreground(make_case):
    facts = inspect_case(make_case("a", IMAGE), 3)
    assert facts.foreground.shape == (2, 0)
    assert (facts.label_counts, facts.label_digest) == ({}, "")


def test_a_digest_tells_content_from_content(make_case):
    one, same, other = (
        inspect_case(make_case("a", image, LABEL), 3) for image in (IMAGE, IMAGE.copy(), IMAGE + 1)
    )
    assert one.digest == same.digest != other.digest
    assert one.label_digest == other.label_digest != ""
    turned = inspect_case(make_case("a", IMAGE.reshape(2, 11, 12, 10)), 3)
    assert turned.digest != one.digest


@pytest.mark.parametrize("broken", ["image", "label", "both"])
def test_a_case_that_cannot_be_read_is_told_and_raises_nothing(broken):
    image = unreadable if broken != "label" else lambda: IMAGE
    label = unreadable if broken != "image" else lambda: LABEL
    facts = inspect_case(Case("a", "a", Path("a"), image, label), 3)
    assert [problem.what for problem in facts.problems] == ["the file is damaged"]
    assert (facts.shape == ()) == (broken != "label")
    assert (facts.label_counts == {}) == (broken != "image")


def test_problems_of_values_and_shapes(make_case):
    with_nan = IMAGE.copy()
    with_nan[0, 0, 0, 0] = np.nan
    facts = inspect_case(make_case("a", with_nan, LABEL[:-1]), 2)
    told = "\n".join(str(problem) for problem in facts.problems)
    for part in ("not numbers", "differ in shape", "outside the classes"):
        assert part in told
    assert (facts.shape, facts.percentiles, facts.mean_sd) == ((), (), ())
    assert inspect_case(make_case("a", IMAGE, LABEL), None).problems == ()


def test_many_cases_keep_their_order_and_report_progress(make_case):
    cases = [make_case(f"case{number}", IMAGE + number) for number in range(7)]
    seen = []
    facts = inspect(cases, None, workers=3, progress=lambda done, total: seen.append((done, total)))
    assert [fact.case.id for fact in facts] == [case.id for case in cases]
    assert seen == [(done, 7) for done in range(1, 8)]
    assert inspect([], None) == []
