"""Tests of the tables of the command, as text."""

from rich.console import Console

from crossview.cli.views import suggestion_table, summary_table
from crossview.evaluation.doubt import Suggestion


def mean(dice):
    return {
        metric: {"mean": dice, "ci95": [dice, dice], "n": 1}
        for metric in ("dice", "jaccard", "hd95", "asd")
    }


def shown(views, **changes):
    summary = {
        "method": "a",
        "split": "test",
        "cases": ["x"],
        "patients": 1,
        "by_patient": [],
        "unit": "mm",
        "checkpoint": "last",
        "step": 1,
        "optimistic": False,
        "empty": [],
    }
    summary |= {
        "classes": {"1": {"name": "liver", **mean(0.8)}},
        "mean": mean(0.8),
        "views": {name: {"mean": mean(dice)} for name, dice in views.items()},
        **changes,
    }
    console = Console(width=120)
    with console.capture() as captured:
        console.print(summary_table(summary))
    return captured.get()


def test_a_view_that_is_the_answer_itself_is_not_told_twice():
    text = shown({"student": 0.8, "teacher": 0.7})
    assert "teacher alone" in text
    assert "student" not in text
    text = shown({"view1": 0.75, "view2": 0.7})
    assert "view1 alone" in text
    assert "view2 alone" in text


def test_intervals_say_how_many_patients_they_rest_on():
    cases = [f"patient{number}_{phase}" for number in range(12) for phase in ("ED", "ES")]
    rows = [
        {"patient": f"patient{n}", "cases": 2, "jaccard": 0.5, "hd95": 1.0, "asd": 1.0}
        | {"dice": None if n == 11 else 0.9 - n / 100}
        for n in range(12)
    ]
    text = shown({}, cases=cases, patients=12, by_patient=rows)
    assert "a on test: 24 cases of 12 patients" in text
    assert "Intervals are over 12 patients." in text
    assert "80.00 to 80.00 (1 case)" in text  # this class is in one of the 24 cases
    shown_rows = [line.split() for line in text.splitlines() if line.startswith("patient")][1:]
    assert shown_rows[0][:3] == ["patient10", "2", "80.00"]  # the worst first
    assert len(shown_rows) == 10
    assert "and 2 patients more in the report" in text
    few = shown({}, cases=cases[:8], patients=4, by_patient=rows[:4])
    assert "8 cases of 4 patients" in few
    assert "Intervals over only 4 patients are rough and tend to be too narrow." in few


def test_cases_that_are_patients_of_their_own_have_no_second_table():
    text = shown({}, cases=["x"])
    assert "a on test: 1 case, " in text
    assert "(1 case)" not in text
    assert "patient  " not in text


def test_suggestions_have_whole_names_and_their_order_explained():
    name = "hospital_a_" * 9 + "end"
    made = [
        Suggestion(rank, case, "", score, place, 40, "", 0.0)
        for rank, case, score, place in ((1, name, 1.0, 1), (2, "b", 0.15, 6), (3, "c", 1.0, 2))
    ]
    console = Console(width=80)
    with console.capture() as captured:
        console.print(suggestion_table(made))
    text = captured.get()
    assert name in "".join(line.split("  ")[0].strip() for line in text.splitlines())
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    flat = " ".join(text.split())
    assert "among the 9 most doubtful scans" in flat  # 3 x 3, more than a fifth of 40
