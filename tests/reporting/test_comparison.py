"""The page, plots and files of a comparison: nothing is called better that is not."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.helpers.made_rows import against_baseline, made_comparison, made_row, spreads
from tests.helpers.small_run import small

from crossview.core.errors import UserError
from crossview.evaluation.compare import Comparison, compare
from crossview.evaluation.rows import Row, Spread
from crossview.reporting.comparison import ComparisonSection, write_table
from crossview.runs.evaluate import evaluate

BASE = made_row()


def section(*rows: Row) -> ComparisonSection:
    return ComparisonSection(made_comparison(*rows))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory) -> Comparison:
    folder = tmp_path_factory.mktemp("compared")
    runs = [
        small(folder / name, *sets)
        for name, sets in {
            "cml": (),
            "labelled": ("method.pretrain_steps=7", "method.train_steps=0"),
        }.items()
    ]
    for run in runs:
        evaluate(run)
    return compare([run.path for run in runs])


@pytest.mark.parametrize(
    ("name", "told"),
    [("t.md", "| cml"), ("t.csv", "cml,demo,1,"), ("t.html", "<svg"), ("t.svg", "<svg xmlns")],
)
def test_the_suffix_selects_the_format(comparison, tmp_path, name, told):
    path = write_table(comparison, tmp_path / "new" / name)
    assert told in path.read_text()
    assert "labelled only" in path.read_text()


def test_the_plots_alone_are_a_file_that_needs_no_other(comparison, tmp_path):
    text = write_table(comparison, tmp_path / "plots.svg", "A <title>").read_text()
    root = ElementTree.fromstring(text)
    name = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{name}title").text == "A <title>"
    assert len(root.findall(f"{name}svg")) == 2, "the means, and the differences"
    assert root.find(f"{name}style") is not None


def test_a_page_without_differences_does_not_explain_them(tmp_path):
    rows = made_row(), made_row("cml", is_baseline=False)
    page = write_table(made_comparison(*rows), tmp_path / "t.html").read_text()
    assert "Differences are paired" not in page


def test_other_formats_are_refused(comparison, tmp_path):
    with pytest.raises(UserError, match=r"\.md, \.csv, \.html or \.svg"):
        write_table(comparison, tmp_path / "table.docx")
    assert not any(tmp_path.iterdir())


def test_the_baseline_comes_first(comparison):
    base, cml = ComparisonSection(comparison).rows
    assert (base.method, cml.method) == ("cml labelled only", "cml")
    assert base.difference is None
    assert cml.difference.low <= cml.difference.mean <= cml.difference.high
    assert [row.method for row, _ in comparison.runs] == ["cml", "cml labelled only"]


@pytest.mark.parametrize(
    ("low", "high", "verdict", "words"),
    [
        (0.01, 0.03, "better", "CML is better than Supervised"),
        (-0.03, -0.01, "worse", "CML is worse than Supervised"),
        (-0.01, 0.03, "no difference shown", "CML shows no clear difference from Supervised"),
        (0.001, 0.03, "no difference shown", "CML shows no clear difference from Supervised"),
        (0.001, 0.03, "one seed", "CML against Supervised, one seed, so no verdict"),
    ],
)
def test_the_sentence_is_that_of_the_verdict(
    low: float, high: float, verdict: str, words: str
) -> None:
    [sentence] = section(BASE, against_baseline(low, high, verdict=verdict)).sentences
    assert sentence.startswith(words)
    assert "+2.00 points" in sentence


def test_where_interval_and_correction_disagree_the_sentence_says_why() -> None:
    changes = {"verdict": "no difference shown", "p": 0.14}
    [sentence] = section(BASE, against_baseline(0.001, 0.03, p_alone=0.02, **changes)).sentences
    assert "shows no clear difference from" in sentence
    assert (
        "excludes 0, but it is for one comparison alone (p = 0.020). "
        "Corrected for the number of comparisons: p = 0.140" in sentence
    )
    [sentence] = section(BASE, against_baseline(0.001, 0.03, p_alone=0.14, **changes)).sentences
    assert "the paired test does not confirm the difference (p = 0.140)" in sentence
    [sentence] = section(BASE, against_baseline(-0.001, 0.03, p_alone=0.07, **changes)).sentences
    assert sentence.endswith("+3.00, p = 0.140.")


def test_a_reference_is_neither_better_nor_worse(tmp_path: Path) -> None:
    reference = against_baseline(
        0.01, 0.03, "supervised all labels", verdict="reference", reference=True
    )
    found = section(BASE, reference)
    assert found.sentences == [
        "Supervised all labels (a reference, not a competitor) against Supervised: "
        "+2.00 points of Dice, 95 % interval +1.00 to +3.00."
    ]
    assert "c8" in found.differences.svg()
    page = write_table(made_comparison(BASE, reference), tmp_path / "page.html").read_text()
    assert '<td class="">+2.00<small>' in page


def test_the_differences_are_drawn_with_zero_marked() -> None:
    plot = section(BASE, against_baseline(-0.01, 0.05, "cml labelled only")).differences.svg()
    assert "Dice against Supervised, in points" in plot
    assert "CML labelled only: +2.00 (-1.00 to +5.00)" in plot
    assert plot.count("<circle") == 1
    assert "zero" in plot
    assert section(BASE).differences is None


def test_distances_say_how_many_predictions_they_leave_out(tmp_path: Path) -> None:
    row = made_row(metrics=spreads(left_out=3), empty={"missed": 2, "both_empty": 1})
    text = write_table(made_comparison(row), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "4.12<small>3 left out</small>" in text
    assert "missed 2, both empty 1" in text.replace("\u00a0", " ").replace("&nbsp;", " ")
    assert "Left out: predictions without a distance" in text


def test_a_row_that_nothing_is_compared_with_is_not_called_the_baseline(tmp_path: Path) -> None:
    rows = made_comparison(BASE, made_row("cml", is_baseline=False))
    text = write_table(rows, tmp_path / "page.html").read_text()
    assert re.findall('<td class="">(.*)</td>', text) == ["baseline", "not given"]
    assert ComparisonSection(rows).sentences == []


def test_each_setting_has_its_own_baseline() -> None:
    rows = [
        against_baseline(0.01, 0.03),
        BASE,
        against_baseline(0.01, 0.03, setting="la-8"),
        made_row(setting="la-8"),
    ]
    assert [sentence.split(":")[0] for sentence in section(*rows).sentences] == [
        "CML, demo is better than Supervised, demo",
        "CML, la-8 is better than Supervised, la-8",
    ]
    assert "CML, la-8: +2.00" in section(*rows).differences.svg()


def test_the_page_shows_numbers_intervals_and_runs(tmp_path: Path) -> None:
    cml = against_baseline(0.01, 0.03, metrics=spreads(0.82), selection="test")
    path = write_table(made_comparison(BASE, cml, notes=("Two seeds.",)), tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
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
        "Dice in %",
    ):
        assert part in text
    assert len(re.findall('class="seed"', text)) == 4
    assert not re.search(r"(?i)(url\(|@import|https?://|<script)", text)


def test_each_class_is_shown_where_there_are_several(tmp_path: Path) -> None:
    classes = {
        "head": {
            "dice": Spread(0.9),
            "jaccard": Spread(0.82),
            "hd95": Spread(1.25),
            "asd": Spread(0.3),
        },
        "<tail>": spreads(),
    }
    rows = made_comparison(BASE, against_baseline(0.01, 0.03, classes=classes))
    page = write_table(rows, tmp_path / "c.html").read_text()
    assert "Each class" in page
    for part in ("head", "90.00", "82.00", "1.25", "&lt;tail&gt;", "80.00"):
        assert part in page
    one = made_comparison(made_row(classes={"head": spreads()}))
    assert "Each class" not in write_table(one, tmp_path / "d.html").read_text()


def test_undefined_values_are_no_numbers(tmp_path: Path) -> None:
    nothing = dict.fromkeys(("dice", "jaccard", "hd95", "asd"), Spread(math.nan))
    row = made_row("own", metrics=nothing)
    text = write_table(made_comparison(row), tmp_path / "odd.html").read_text(encoding="utf-8")
    assert "nan" not in text.split("</style>")[1]
    assert "own" in text
    assert section(row).means is None
