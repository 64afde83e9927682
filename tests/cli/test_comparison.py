"""The comparison in a terminal: what decides fits 80 columns."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console
from tests.helpers.made_rows import against_baseline, made_comparison, made_row, spreads

from crossview.cli.comparison import comparison_table
from crossview.evaluation.compare import Comparison
from crossview.evaluation.rows import Row


def shown(comparison: Comparison, width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(comparison_table(comparison, width))
    return console.file.getvalue()


def of(*rows: Row, notes: tuple[str, ...] = ()) -> str:
    return shown(made_comparison(*rows, notes=notes), 200)


def test_empty_predictions_are_told_at_any_width():
    rows = (made_row(empty={"missed": 3}), made_row("cml", empty={}))
    narrow, wide = (shown(made_comparison(*rows), width) for width in (48, 160))
    of_all = rows[0].predictions
    told = f"Empty predictions: supervised: missed 3 of {of_all}."
    assert told in " ".join(narrow.split())
    assert f"missed 3 of {of_all}" in wide
    assert "Empty predictions:" not in wide
    assert "Empty" in wide.splitlines()[3]


def test_the_rest_is_where_the_command_puts_it():
    console = Console(width=200, file=io.StringIO())
    console.print(comparison_table(made_comparison(made_row()), 30, "the report"))
    told = "Not all is shown here: the report also has the columns Jaccard, ASD and Training."
    assert told in console.file.getvalue()
    assert "--out" not in console.file.getvalue()


def test_the_last_line_is_a_sentence_on_what_is_not_shown():
    classes = {name: spreads() for name in ("ring", "core")}
    wide = of(made_row(classes=classes), notes=tuple(f"Note {number}." for number in range(5)))
    assert (
        "Not all is shown here: the page that --out FILE.html writes also has the scores of each "
        "class, and 1 more note."
    ) in " ".join(wide.split())
    assert "Not all is shown" not in of(made_row())


def test_a_cell_without_a_difference_says_so():
    text = of(made_row(), made_row("cml", is_baseline=False))
    assert "not given" in text
    assert "bootstrap" not in text
    assert "not given" not in of(made_row(), against_baseline(0.01, 0.03))


def test_markup_in_names_stays_text():
    assert "a|b [red]" in of(made_row("a|b [red]"))


def test_the_line_above_says_once_what_is_the_same_in_every_row():
    rows = [made_row(steps=17000), against_baseline(0.01, 0.03, steps=17000)]
    assert of(*rows).count("17,000 steps") == 1
    above = "test cases, setting demo, 17,000 steps, 2 seeds, selection last"
    assert of(*rows).startswith(above)
    bcp = against_baseline(0.01, 0.03, "bcp", steps=9000)
    assert of(*rows, bcp).count("17,000 steps") == 2
    assert "9,000 steps" in of(*rows, bcp)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_columns_that_decide_are_never_shortened(width):
    rows = [
        made_row("supervised"),
        against_baseline(0.01, 0.03, "mean_teacher (released)", p=0.026),
        against_baseline(-0.01, 0.03, "cml", p=1.0, verdict="no difference shown"),
    ]
    text = shown(made_comparison(*rows), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for words in (
        "80.00 ± 0.71",
        "[76.00, 83.00]",
        "+2.00 [+1.00, +3.00]",
        "better, p = 0.026",
        "HD95",
        "mean_teacher (released)",
    ):
        assert words in text
    headings, _, last = text.partition("──")
    last = last.partition("Not all is shown here:")[2]
    assert "Empty" in headings
    for name in ("Jaccard", "ASD", "Training"):
        assert (name in headings) != (name in last)
    assert width < 160 or "Training" in headings


def test_few_notes_are_shown_and_the_others_are_counted():
    notes = tuple(f"Note {number}." for number in range(6))
    text = of(made_row(), notes=notes)
    assert "Note 3." in text
    assert "Note 4." not in text
    assert "writes also has 2 more notes." in text
    assert "more note" not in of(made_row(), notes=notes[:4])


def test_distances_say_how_many_predictions_they_leave_out():
    text = of(made_row(metrics=spreads(left_out=3)))
    assert text.count("3 left out") == 1
    assert "because they or the truth are empty" in text


def test_what_was_selected_on_test_is_flagged():
    assert "selected on test" in of(made_row(selection="test"))
    text = of(made_row(), against_baseline(0.01, 0.03, selection="test"))
    assert text.count("selected on test") == 1


def test_a_partial_evaluation_is_flagged():
    row = made_row(runs=(SimpleNamespace(partial=True),))
    assert "scored in part" in of(row)
    assert "scored in part" not in of(made_row())
