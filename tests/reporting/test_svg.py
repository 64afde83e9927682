"""Charts: well-formed, within their frame, with ticks on round numbers."""

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossview.reporting.plots import Interval, Mark, interval_plot, strip
from crossview.reporting.svg import Series, line_chart, short, thin, ticks
from crossview.reporting.words import metric

finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(st.tuples(st.floats(0, 1e5), finite), max_size=600), st.booleans())
def test_any_line_stays_within_its_frame(values: list[tuple[float, float]], log: bool) -> None:
    chart = line_chart(
        "<&>", [Series('a"<b>', values)], boundaries=[(0, "<first>"), (10, "second")], log=log
    )
    root = ElementTree.fromstring(chart.svg)
    for line in root.iter("polyline"):
        pairs = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        assert len(pairs) <= 260
        assert all(50 <= x <= 510 and 20 <= y <= 222 for x, y in pairs)


@given(finite, st.floats(1e-6, 1e6))
def test_ticks_are_round_and_inside(low: float, width: float) -> None:
    high = low + width
    if high <= low or width < abs(low) * 1e-9:
        return
    found = ticks(low, high)
    assert 1 <= len(found) <= 8
    slack = 1e-6 * width + 1e-9 * abs(low)
    assert all(low - slack <= value <= high + slack for value in found)


def test_a_long_series_is_thinned_by_its_means() -> None:
    points_ = [(float(step), float(step % 2)) for step in range(10_000)]
    found = thin(points_, 100)
    assert len(found) == 100
    assert all(math.isclose(y, 0.5) for _, y in found)
    assert thin(points_[:50], 100) == points_[:50]


def test_a_few_outliers_do_not_flatten_a_loss() -> None:
    values = [(float(step), 1.0) for step in range(250)]
    values[0] = (0.0, 1e9)
    heights = re.findall(r",(\d+\.\d)", str(line_chart("loss", [Series("loss", values)]).svg))
    assert float(heights[-1]) < 90


def test_every_case_has_its_dot_and_link() -> None:
    marks = [Mark(0.9 + 0.0001 * case, f"<case {case}>", f"#case-{case}") for case in range(60)]
    root = ElementTree.fromstring(strip(marks, 0.9, (0.88, 0.92), "cases"))
    links = [link.attrib["href"] for link in root.iter("a")]
    assert sorted(links) == sorted(mark.link for mark in marks)
    assert strip([], None, None, "none")


def test_a_comparison_without_intervals_is_drawn() -> None:
    rows = [
        Interval("a" * 80, 0.5, None, "first"),
        Interval("b", 0.9, (0.8, 0.95), "second", (0.89, 0.91)),
    ]
    plot = interval_plot(rows, (0.4, 1.0), axis="Dice", label="plot", show=short)
    root = ElementTree.fromstring(plot.svg())
    assert len(list(root.iter("circle"))) == 4
    assert len([line for line in root.iter("line") if "interval" in line.attrib["class"]]) == 1


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (metric("jaccard", 0.5), "50.00"),
        (metric("hd95", 0.5), "0.50"),
        (short(12000), "12k"),
        (short(1e-5), "1e-5"),
        (short(0), "0"),
    ],
)
def test_words(found: str, expected: str) -> None:
    assert found == expected
