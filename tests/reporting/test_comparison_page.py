"""The page of a comparison: nothing is called better that is not."""

import re
from pathlib import Path
from typing import Any

import pytest

from crossview.reporting.comparison import ComparisonTable, comparison_section, write_comparison

BASE = {
    "method": "supervised",
    "setting": "demo",
    "seeds": [1, 2],
    "steps": 600,
    "dice": 0.8,
    "ci_low": 0.76,
    "ci_high": 0.83,
    "hd95": 4.1234,
}


def row(low: float | None, high: float | None, **changes: Any) -> dict[str, Any]:
    return {
        **BASE,
        "method": "cml",
        "difference": 0.02,
        "difference_low": low,
        "difference_high": high,
        **changes,
    }


@pytest.mark.parametrize(
    ("low", "high", "verdict", "words"),
    [
        (0.01, 0.03, None, "CML is better than Supervised"),
        (-0.03, -0.01, None, "CML is worse than Supervised"),
        (-0.01, 0.03, None, "CML shows no clear difference from Supervised"),
        (0.0, 0.03, None, "CML shows no clear difference from Supervised"),
        (0.001, 0.03, "no difference shown", "CML shows no clear difference from Supervised"),
        (0.001, 0.03, "one seed", "CML against Supervised, one seed, so no verdict"),
        (0.001, 0.03, "better", "CML is better than Supervised"),
    ],
)
def test_better_only_where_the_interval_is_clear_of_zero(
    low: float, high: float, verdict: str | None, words: str
) -> None:
    [sentence] = comparison_section(ComparisonTable([BASE, row(low, high, verdict=verdict)]))[
        "sentences"
    ]
    assert sentence.startswith(words)
    assert "+2.00 points" in sentence


def test_where_interval_and_correction_point_apart_the_sentence_says_why() -> None:
    corrected = row(0.001, 0.03, verdict="no difference shown", p=0.14, p_alone=0.02)
    [sentence] = comparison_section(ComparisonTable([BASE, corrected]))["sentences"]
    assert "shows no clear difference from" in sentence
    assert (
        "excludes 0, but it is for one comparison alone (p = 0.020). "
        "Corrected for the number of comparisons: p = 0.140" in sentence
    )
    alike = row(-0.001, 0.03, verdict="no difference shown", p=0.14, p_alone=0.07)
    assert "corrected" not in comparison_section(ComparisonTable([BASE, alike]))["sentences"][0]


def test_a_reference_is_neither_better_nor_told_apart() -> None:
    section = comparison_section(
        ComparisonTable(
            [BASE, row(0.01, 0.03, method="supervised all labels", verdict="reference")]
        )
    )
    assert section["sentences"] == [
        "Supervised all labels (a reference, not a competitor) against Supervised: "
        "+2.00 points of Dice, 95 % interval +1.00 to +3.00."
    ]
    assert section["rows"][1]["clear"] == ""
    assert "c8" in section["differences"]


def test_the_differences_are_drawn_with_zero_marked() -> None:
    plot = comparison_section(
        ComparisonTable([BASE, row(-0.01, 0.05, method="cml labelled only")])
    )["differences"]
    assert "Dice against Supervised, in points" in plot
    assert "CML labelled only: +2.00 (-1.00 to +5.00)" in plot
    assert plot.count("<circle") == 1
    assert "zero" in plot
    assert comparison_section(ComparisonTable([BASE]))["differences"] is None


def test_distances_say_how_many_predictions_they_leave_out(tmp_path: Path) -> None:
    rows = [{**BASE, "hd95_left_out": 3, "empty": {"missed": 2, "both_empty": 1}}]
    text = write_comparison(ComparisonTable(rows), tmp_path / "page.html").read_text(
        encoding="utf-8"
    )
    assert "4.12<small>3 left out</small>" in text
    assert "missed 2, both empty 1" in text.replace("\u00a0", " ")


def test_a_row_that_nothing_is_compared_with_is_not_called_the_baseline() -> None:
    rows = comparison_section(
        ComparisonTable([BASE, {**BASE, "method": "cml", "baseline": False}])
    )["rows"]
    assert [row["difference"] for row in rows] == ["baseline", ""]


def test_without_an_interval_nothing_is_claimed() -> None:
    assert comparison_section(ComparisonTable([BASE, row(None, None)]))["sentences"] == []


def test_each_setting_has_its_own_baseline() -> None:
    rows = [BASE, row(0.01, 0.03), {**BASE, "setting": "la-8"}, row(0.01, 0.03, setting="la-8")]
    sentences = comparison_section(ComparisonTable(rows))["sentences"]
    assert [sentence.split(":")[0] for sentence in sentences] == [
        "CML, demo is better than Supervised, demo",
        "CML, la-8 is better than Supervised, la-8",
    ]


def test_the_page_shows_numbers_intervals_and_runs(tmp_path: Path) -> None:
    points = [
        {"method": method, "setting": "demo", "seed": seed, "dice": 0.79 + seed / 100}
        for method in ("supervised", "cml")
        for seed in (1, 2)
    ]
    table = ComparisonTable(
        [BASE, row(0.01, 0.03, dice=0.82, selection="test", empty=3, seconds=4000.0)],
        points,
        ["Two seeds."],
        "mm",
    )
    text = write_comparison(table, tmp_path / "compare.html").read_text(encoding="utf-8")
    for part in (
        "80.00",
        "76.00 to 83.00",
        "+2.00",
        "+1.00 to +3.00",
        "4.12",
        "HD95, mm",
        "1 h 6 min",
        "Two seeds.",
        "optimistic",
    ):
        assert part in text
    assert len(re.findall('class="seed"', text)) == 4
    assert not re.search(r"(?i)(url\(|@import|https?://|<script)", text)
    plain = write_comparison(table, tmp_path / "plain.html", plot=False).read_text(encoding="utf-8")
    assert "Dice in %" not in plain


def test_each_class_is_told_where_there_are_several(tmp_path: Path) -> None:
    classes = {
        "head": {"dice": 0.9, "jaccard": 0.82, "hd95": 1.25, "asd": 0.3},
        "<tail>": {"dice": 0.8},
    }
    page = write_comparison(
        ComparisonTable([BASE, row(0.01, 0.03, classes=classes)]), tmp_path / "c.html"
    ).read_text()
    assert "Each class" in page
    for part in ("head", "90.00", "82.00", "1.25", "&lt;tail&gt;", "80.00"):
        assert part in page
    assert (
        "Each class"
        not in write_comparison(ComparisonTable([BASE]), tmp_path / "d.html").read_text()
    )


def test_rows_may_lack_anything(tmp_path: Path) -> None:
    write_comparison(ComparisonTable([]), tmp_path / "none.html")
    text = write_comparison(
        ComparisonTable([{"method": "own"}, {"dice": float("nan")}]), tmp_path / "odd.html"
    ).read_text(encoding="utf-8")
    assert "nan" not in text.split("</style>")[1]
    assert "own" in text
