"""Tests of numbers, lists, counts and durations in words."""

import pytest

from crossview.core.text import (
    count,
    distance,
    duration,
    first_few,
    in_text,
    interval,
    listed,
    number,
    percent,
    points,
)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (percent(0.90364), "90.36"),
        (percent(None), "–"),
        (percent(float("nan")), "–"),
        (percent(True), "–"),
        (in_text(1), "100.00\u00a0%"),
        (points(-0.021), "−2.10"),
        (points(0.021), "+2.10"),
        (distance(6.064), "6.06"),
        (interval(0.1, 0.2), "10.00 to 20.00"),
        (interval(None, 0.2), ""),
        (duration(4000), "1 h 6 min"),
        (duration(59.96), "60 s"),
        (duration(3.21), "3.2 s"),
        (duration("x"), "–"),
        (count(1, "case"), "1 case"),
        (count(1234, "case"), "1,234 cases"),
        (listed([]), ""),
        (listed(["a"]), "a"),
        (listed(["a", "b", "c"]), "a, b and c"),
        (listed(list("abcdefgh")), "a, b, c, d, e, f and 2 more"),
        (first_few(["a", "b"]), "a, b"),
        (first_few(["a", "b", "c"], 1), "a and 2 more"),
    ],
)
def test_a_value_in_words(found: str, expected: str) -> None:
    assert found == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0.5", 0.5), ("", None), (None, None), ([1], None), (True, None), (float("inf"), None)],
)
def test_only_finite_values_are_numbers(value: object, expected: float | None) -> None:
    assert number(value) == expected
