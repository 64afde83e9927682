"""Tests of the tables of the command, as text."""

from rich.console import Console

from crossview.cli.views import summary_table


def mean(dice):
    return {
        metric: {"mean": dice, "ci95": [dice, dice]}
        for metric in ("dice", "jaccard", "hd95", "asd")
    }


def shown(views):
    summary = {
        "method": "a",
        "split": "test",
        "cases": ["x"],
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
