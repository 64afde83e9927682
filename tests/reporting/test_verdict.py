"""The words of a report: whether the unlabelled scans helped, which view is weak, what failed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossview.reporting.content import read_content
from crossview.reporting.curves import training_charts
from crossview.reporting.headline import headline, headline_score
from crossview.reporting.results import ResultsSection, ScoreRow
from crossview.reporting.unlabelled import unlabelled_effect
from crossview.reporting.verdict import cautions, result_sentences

MakeRun = Callable[..., Path]
Journal = Callable[..., list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("pretrain", "train", "effect", "words"),
    [
        ([0.5, 0.7], [0.72, 0.75, 0.8], "rose", "Dice rose by 10.00 points"),
        ([0.5, 0.84], [0.7, 0.65, 0.61], "hurt", "did harm (Dice fell by 23.00 points)"),
        ([0.5, 0.8], [0.6, 0.7, 0.805], "unclear", "no clear difference"),
        ([], [], "unknown", "no validation cases"),
        ([0.5, 0.7], [], "unknown", "not both"),
    ],
)
def test_the_effect_of_unlabelled_scans(
    make_run: MakeRun, journal: Journal, pretrain: Any, train: Any, effect: str, words: str
) -> None:
    found = unlabelled_effect(read_content(make_run(journal=journal(pretrain, train))))
    assert found.effect == effect
    assert words in found.text


def test_harm_names_the_best_step(make_run: MakeRun, journal: Journal) -> None:
    found = unlabelled_effect(
        read_content(make_run(journal=journal([0.9, 0.85], [0.9, 0.8, 0.7])))
    ).text.replace("\u00a0", " ")
    for figure in (
        "85.00 % at the end",
        "at its best 90.00 %",
        "70.00 % at the end",
        "after 90.00 % at step 600",
    ):
        assert figure in found


def test_under_selection_the_best_weights_of_both_stages_are_compared(
    make_run: MakeRun, journal: Journal
) -> None:
    run = make_run(selection="validation", journal=journal([0.82, 0.6], [0.85, 0.5, 0.4]))
    found = unlabelled_effect(read_content(run))
    assert found.effect == "rose"
    assert "3.00 points" in found.text


def test_supervised_runs_used_no_unlabelled_scans(make_run: MakeRun, journal: Journal) -> None:
    rows = [row for row in journal([0.5, 0.7], []) if row.get("stage") != "train"]
    assert (
        unlabelled_effect(read_content(make_run(method="supervised", journal=rows))).text
        == "This run trained on labelled scans only."
    )
    young = unlabelled_effect(
        read_content(
            make_run(name="young", journal=[row for row in rows if row["kind"] != "finished"])
        )
    )
    assert young.text == "The stage with unlabelled scans has not begun."


def test_what_one_run_can_not_tell_the_comparison_above_it_tells(
    make_run: MakeRun, journal: Journal
) -> None:
    run = read_content(make_run(journal=journal([], [])))
    assert "This run alone cannot show" in unlabelled_effect(run).text
    compared = unlabelled_effect(run, compared=True)
    assert compared.effect == "unknown"
    assert "The comparison at the top of this page shows" in compared.text


def test_a_comparison_above_takes_the_place_of_the_advice_to_make_one(
    make_run: MakeRun, journal: Journal
) -> None:
    for name, train in (("rose", [0.85, 0.9]), ("unclear", [0.701, 0.702])):
        run = read_content(make_run(name=name, journal=journal([0.6, 0.7], train)))
        assert (
            "a supervised run with the same number of steps (crossview compare) shows"
            in unlabelled_effect(run).text
        )
        compared = unlabelled_effect(run, compared=True)
        assert compared.effect == name
        assert "the comparison at the top of this page shows" in compared.text
        assert "crossview compare" not in compared.text


def test_a_stage_may_say_itself_that_it_uses_unlabelled_scans(make_run: MakeRun) -> None:
    rows = [
        {
            "kind": "stage",
            "stage": "train",
            "index": 0,
            "steps": 100,
            "total_step": 0,
            "unlabelled": True,
        }
    ]
    rows.append(
        {
            "kind": "validation",
            "stage": "train",
            "total_step": 100,
            "mean": 0.5,
            "classes": {},
            "views": {},
        }
    )
    found = unlabelled_effect(read_content(make_run(method="ua_mt", journal=rows)))
    assert found.effect == "unknown"
    assert "no labelled-only stage" in found.text


def test_a_weak_view_and_a_dead_one_are_named(make_run: MakeRun, journal: Journal) -> None:
    def texts(name: str, **views: float) -> list[str]:
        rows = journal([0.5, 0.7], [0.7, 0.7, 0.7], views=views)
        return [text for _, text in cautions(read_content(make_run(name=name, journal=rows)))]

    assert texts("even", view1=0.8, view2=0.75) == []
    assert texts("one", network=0.1) == []
    [weak] = texts("weak", view1=0.8, view2=0.6)
    assert weak.startswith("view2 is weak")
    [dead] = texts("dead", view1=0.0, view2=0.6)
    assert dead.startswith("view1 is dead")


def test_views_are_judged_by_the_test_cases_where_nothing_was_validated(make_run: MakeRun) -> None:
    views = {
        name: {"classes": {}, "mean": {"dice": {"mean": dice}}}
        for name, dice in (("student", 0.5), ("teacher", 0.8))
    }
    [(tone, text)] = cautions(read_content(make_run(dice={"a": [0.8]}, views=views)))
    assert tone == "warn"
    assert "student is weak" in text
    assert "the test cases" in text
    assert "The student is the result" in text
    assert "teach the other views" not in text


def test_a_teacher_that_lags_behind_is_called_so_and_one_that_is_not_used_yet_is_not(
    make_run: MakeRun, journal: Journal
) -> None:
    late = read_content(
        make_run(
            name="late",
            method="bcp",
            journal=journal([0.5], [0.8], views={"student": 0.8, "teacher": 0.5}),
        )
    )
    [(_, text)] = cautions(late)
    assert text.startswith("teacher is weak")
    assert "lags behind" in text
    early = read_content(
        make_run(
            name="early",
            method="bcp",
            journal=journal([0.5, 0.8], [], views={"student": 0.8, "teacher": 0.0}),
        )
    )
    assert cautions(early) == []
    assert "teacher" in [name for chart in training_charts(late) for name, *_ in chart.legend]
    assert "teacher" not in [name for chart in training_charts(early) for name, *_ in chart.legend]


def test_empty_pseudo_labels_are_named(make_run: MakeRun, journal: Journal) -> None:
    rows = journal()
    for row in rows:
        if row["kind"] == "step":
            row["health"] = {
                "view1 pseudo-label share": 0.0,
                "view2 pseudo-label share": 0.06,
                "view1 labelled Dice": 0.0,
            }
    [(_, text)] = cautions(read_content(make_run(journal=rows)))
    assert text.startswith("view1 pseudo-label share is 0.000 %")


def test_the_split_that_was_scored_in_training_is_named(
    make_run: MakeRun, journal: Journal
) -> None:
    for selection, split, other in (
        ("test", "test", "validation"),
        ("last", "validation", "test"),
        ("validation", "validation", "test"),
    ):
        rows = journal([0.5, 0.7], [0.7, 0.7, 0.7], views={"view1": 0.8, "view2": 0.6})
        run = read_content(make_run(name=selection, selection=selection, journal=rows))
        words = " ".join(
            [
                *(text for _, text in cautions(run) if "view2" in text),
                *(chart.title for chart in training_charts(run)),
            ]
        ).lower()
        assert f"on the {split} cases" in words
        assert f"{split} dice in %" in words
        assert other not in words
        young = unlabelled_effect(
            read_content(
                make_run(name=f"{selection} young", selection=selection, journal=journal())
            )
        ).text
        assert f"no {split} cases were scored" in young


def test_a_checkpoint_is_called_picked_on_the_cases_scored_only_where_it_was(
    make_run: MakeRun, evaluation_writer: Any
) -> None:
    run = make_run(selection="test", dice={"a": [0.8]}, optimistic=True)
    summary = run / "evaluation" / "test" / "summary.json"
    summary.write_text(summary.read_text().replace('"selection": "last"', '"selection": "test"'))
    evaluation_writer(
        run / "evaluation" / "validation",
        {"v": [0.8]},
        split="validation",
        selection="test",
        optimistic=True,
    )
    on_test, on_validation = (text for _, text in cautions(read_content(run)))
    assert "same cases" in on_test
    assert "same cases" not in on_validation
    assert "selected on the test cases; these are the validation cases" in on_validation


def test_an_evaluation_from_before_the_run_went_on_is_named(make_run: MakeRun) -> None:
    [(tone, text)] = cautions(read_content(make_run(dice={"a": [0.8]}, step=400)))
    assert tone == "bad"
    assert (
        "scores are from step 400, but the run is now at step 1,000: "
        "evaluate it again (crossview evaluate " in text
    )
    old, now = (
        read_content(make_run(name=f"run{step}", dice={"a": [0.8]}, step=step))
        for step in (400, 1000)
    )
    assert ("scores of step 400, out of date", "bad") in headline(old).badges
    assert "at step 400; the run has continued since" in headline_score(old).on
    assert not any("out of date" in text for text, _ in headline(now).badges)
    assert headline_score(now).on == "1 test case"
    assert (
        cautions(
            read_content(make_run(name="best", dice={"a": [0.8]}, step=400, checkpoint="selected"))
        )
        == []
    )


def test_failures_are_counted_and_named(make_run: MakeRun) -> None:
    empty = [
        {"case": "b", "class": "1", "kind": "missed"},
        {"case": "b", "class": "2", "kind": "missed"},
    ]
    empty += [
        {"case": "a", "class": "1", "kind": "spurious"},
        {"case": "c", "class": "1", "kind": "both_empty"},
    ]
    run = read_content(make_run(dice={"a": [0.9], "b": [0.0], "c": [0.8]}, empty=empty))
    text = " ".join(result_sentences(run.evaluations[0])).replace("\u00a0", " ")
    assert "In 1 case a structure was missed altogether: b." in text
    assert "In 1 case a structure was found where there is none: a." in text
    assert (
        "On 3 test cases the mean Dice is 90.36 % (95 % interval 88.90 to 91.60 over 3 patients)."
        in (text)
    )
    assert "Intervals over only 3 patients are rough" in text
    assert "Half of the cases reach 80.00 % or more; the worst, b, has 0.00 %." in text


def test_of_a_student_and_its_teacher_the_student_is_the_result(make_run: MakeRun) -> None:
    means = {
        name: {"mean": value}
        for name, value in (("dice", 0.9036), ("jaccard", 0.82), ("hd95", 6.064), ("asd", 1.68))
    }
    views = {
        "student": {"classes": {}, "mean": means},
        "teacher": {"classes": {}, "mean": {**means, "dice": {"mean": 0.85}}},
    }

    def rows(name: str) -> list[ScoreRow]:
        run = read_content(make_run(name=name, dice={"a": [0.9]}, views=views))
        return ResultsSection(run.evaluations[0]).view_rows

    assert [(row.name, row.total) for row in rows("one")] == [
        ("teacher", False),
        ("student: the result", True),
    ]
    views["student"] = {"classes": {}, "mean": {**means, "dice": {"mean": 0.89}}}
    assert [row.name for row in rows("two")] == ["student", "teacher", "together"]


def looked(step: int, ready: bool) -> dict[str, Any]:
    text = "" if ready else "view2 has 3.0 of class 1"
    return {
        "kind": "readiness",
        "stage": "pretrain",
        "step": step,
        "total_step": step,
        "ready": ready,
        "needed": 0.5,
        "text": text,
    }


def test_a_labelled_stage_that_waited_is_told(make_run: MakeRun, journal: Journal) -> None:
    plain = journal([0.5, 0.7], [0.8])
    at_once = unlabelled_effect(
        read_content(make_run(name="at once", journal=[*plain, looked(400, True)]))
    ).text
    assert "The labelled stage" not in at_once
    late = unlabelled_effect(
        read_content(make_run(name="late", journal=[*plain, looked(400, False), looked(480, True)]))
    ).text
    assert late.replace("\u00a0", " ").startswith(
        "The labelled stage took 480 steps instead of 400: it runs until each network has a Dice"
    )
    assert "Dice rose by 10.00 points" in late


@pytest.mark.parametrize(
    ("finished", "words"),
    [
        (True, "so the unlabelled scans were not used"),
        (False, "This has not happened yet: view2"),
    ],
)
def test_a_labelled_stage_that_never_ended_is_told(
    make_run: MakeRun, journal: Journal, finished: bool, words: str
) -> None:
    rows = [
        row
        for row in journal([0.5, 0.7], [])
        if row.get("stage") != "train" and row["kind"] != "finished"
    ]
    rows += [looked(400, False), looked(480, False)] + (
        [{"kind": "finished", "total_step": 480, "seconds": 1.0}] if finished else []
    )
    found = unlabelled_effect(read_content(make_run(journal=rows)))
    assert found.effect == "none"
    assert words in found.text
    assert "view2 has 3.0 of class 1." in found.text
