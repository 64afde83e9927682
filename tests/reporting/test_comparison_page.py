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
    return {**BASE, "method": "cml", "difference": 0.02, "difference_low": low, "difference_high": high, **changes}


@pytest.mark.parametrize(
    ("low", "high", "verdict", "words"),
    [
        (0.01, 0.03, None, "CML is better than Supervised"),
        (-0.03, -0.01, None, "CML is worse than Supervised"),
        (-0.01, 0.03, None, "CML can't be told from Supervised"),
        (0.0, 0.03, None, "CML can't be told from Supervised"),
        (0.001, 0.03, "no difference shown", "CML can't be told from Supervised"),
        (0.001, 0.03, "better", "CML is better than Supervised"),
    ],
)
def test_better_only_where_the_interval_is_clear_of_zero(low: float, high: float, verdict: str | None, words: str) -> None:
    [sentence] = comparison_section(ComparisonTable([BASE, row(low, high, verdict=verdict)]))["sentences"]
    assert sentence.startswith(words)
    assert "+2.00 points" in sentence


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
    table = ComparisonTable([BASE, row(0.01, 0.03, dice=0.82, selection="test", empty=3, seconds=4000.0)], points, ["Two seeds."], "mm")
    text = write_comparison(table, tmp_path / "compare.html").read_text(encoding="utf-8")
    for part in ("80.00", "76.00 to 83.00", "+2.00", "+1.00 to +3.00", "4.12", "95HD, mm", "1 h 6 min", "Two seeds.", "optimistic"):
        assert part in text
    assert len(re.findall('class="seed"', text)) == 4
    assert not re.search(r"(?i)(url\(|@import|https?://|<script)", text)
    plain = write_comparison(table, tmp_path / "plain.html", plot=False).read_text(encoding="utf-8")
    assert "Dice in %" not in plain


def test_rows_may_lack_anything(tmp_path: Path) -> None:
    write_comparison(ComparisonTable([]), tmp_path / "none.html")
    text = write_comparison(ComparisonTable([{"method": "own"}, {"dice": float("nan")}]), tmp_path / "odd.html").read_text(encoding="utf-8")
    assert "nan" not in text.split("</style>")[1]
    assert "own" in text
