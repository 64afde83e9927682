"""summary.json and cases.csv: the numbers, the conventions for empty masks, writing and reading."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from crossview.core.errors import UserError
from crossview.core.run_folder import EvaluationFolder
from crossview.evaluation.bootstrap import interval
from crossview.evaluation.metrics import Measures
from crossview.evaluation.scores import (
    COLUMNS,
    OTHER_CLEAN_UP,
    Score,
    is_the_answer,
    read_cases,
    read_summary,
    shown_unit,
    summarise,
    write,
)

HEADER = {
    "split": "test",
    "checkpoint": "last",
    "step": 300,
    "selection": "last",
    "method": "cml",
    "variant": "corrected",
    "setting": "demo",
    "seed": 7,
    "clean_up": "largest component",
}
NAN = math.nan
MISSED = Measures(0, 0, NAN, NAN, NAN, 50.0, "missed")
SPURIOUS = Measures(0, 0, NAN, NAN, NAN, 50.0, "spurious")
BOTH_EMPTY = Measures(NAN, NAN, NAN, NAN, NAN, 50.0, "both_empty")


def good(dice, hd95=2.0):
    return Measures(dice, dice / (2 - dice), hd95, hd95 / 2, hd95 / 3, 50.0)


def scores(of_case, view=""):
    """Scores of cases with one patient each, from {case: [measures of class 1, class 2, ...]}."""
    return [
        Score(case, f"patient {case}", view, label_class, measures)
        for case, of_classes in of_case.items()
        for label_class, measures in enumerate(of_classes, start=1)
    ]


def summary_of(all_scores, **header):
    classes = max(score.label_class for score in all_scores)
    names = ["background", *(f"organ {index}" for index in range(1, classes + 1))]
    return summarise(
        all_scores, class_names=names, unit="voxel", header={**HEADER, **header}, seconds=1.5
    )


def test_means_spread_and_interval_of_a_class():
    dice = [0.7, 0.8, 0.95]
    found = summary_of(
        scores({case: [good(value)] for case, value in zip("abc", dice, strict=True)})
    )
    expected = {"mean": np.mean(dice), "sd": np.std(dice, ddof=1), "n": 3}
    assert {key: found["classes"]["1"]["dice"][key] for key in expected} == pytest.approx(expected)
    assert found["classes"]["1"]["dice"]["ci95"] == pytest.approx(
        interval(np.array(dice)[:, None], list("abc"))
    )
    assert found["mean"] == {
        key: value for key, value in found["classes"]["1"].items() if key != "name"
    }
    assert found["classes"]["1"]["name"] == "organ 1"
    assert found["classes"]["1"]["hd95"]["mean"] == 2.0


def test_the_mean_is_per_class_then_over_classes():
    found = summary_of(scores({"a": [good(0.9), good(0.5)], "b": [good(0.7), BOTH_EMPTY]}))
    assert found["classes"]["1"]["dice"]["mean"] == pytest.approx(0.8)
    assert found["classes"]["2"]["dice"] == {"mean": 0.5, "sd": None, "ci95": None, "n": 1}
    assert found["mean"]["dice"]["mean"] == pytest.approx(0.65)
    assert found["mean"]["dice"]["n"] == 2
    assert found["mean"]["dice"]["sd"] == pytest.approx(np.std([0.7, 0.7], ddof=1))


def test_what_is_empty_is_named_and_never_averaged_in():
    found = summary_of(
        scores({"a": [good(0.9, hd95=4.0)], "b": [MISSED], "c": [SPURIOUS], "d": [BOTH_EMPTY]})
    )
    organ = found["classes"]["1"]
    assert (organ["dice"]["mean"], organ["dice"]["n"]) == (pytest.approx(0.3), 3)
    assert (organ["hd95"]["mean"], organ["hd95"]["n"]) == (4.0, 1)
    assert (organ["hd95_penalised"]["mean"], organ["hd95_penalised"]["n"]) == (
        pytest.approx(27.0),
        2,
    )
    assert found["empty"] == [
        {"case": "b", "class": "1", "kind": "missed"},
        {"case": "c", "class": "1", "kind": "spurious"},
        {"case": "d", "class": "1", "kind": "both_empty"},
    ]


def test_the_released_convention_stands_beside_ours_where_it_differs():
    found = summary_of(scores({"a": [good(0.9, hd95=4.0)], "b": [MISSED], "c": [BOTH_EMPTY]}))[
        "released_convention"
    ]
    assert found["classes"]["1"]["dice"] == pytest.approx(0.3)
    assert found["classes"]["1"]["hd95"] == pytest.approx(4 / 3)
    assert found["mean"] == found["classes"]["1"]
    assert summary_of(scores({"a": [good(0.9)], "b": [good(0.8)]}))["released_convention"] == {}


def test_views_and_the_other_clean_up_have_their_own_numbers():
    everything = (
        scores({"a": [good(0.9)]})
        + scores({"a": [good(0.8)]}, "view1")
        + scores({"a": [MISSED]}, OTHER_CLEAN_UP)
    )
    found = summary_of(everything)
    assert found["mean"]["dice"]["mean"] == 0.9
    assert set(found["views"]) == {"view1"}
    assert found["views"]["view1"]["classes"]["1"]["dice"]["mean"] == 0.8
    assert found["clean_up"] == "largest component"
    assert found["other_cleanup"]["largest_component"] is False
    assert found["other_cleanup"]["mean"]["dice"]["mean"] == 0
    assert found["empty"] == []
    assert summary_of(everything, clean_up="none")["other_cleanup"]["largest_component"] is True


def test_patients_with_two_cases_are_one_unit():
    two = [Score(case, "one", "", 1, good(0.5 + index / 10)) for index, case in enumerate("ab")]
    assert summary_of(two)["mean"]["dice"]["ci95"] is None
    assert summary_of(two)["mean"]["dice"]["n"] == 2


@pytest.mark.parametrize(
    ("selection", "split", "flag"),
    [
        ("last", "test", None),
        ("validation", "test", None),
        ("test", "test", "selected on test, optimistic"),
        ("test", "validation", "selected on test, optimistic"),
        ("validation", "validation", "selected on validation, optimistic"),
    ],
)
def test_what_was_selected_on_is_flagged(selection, split, flag):
    found = summary_of(
        scores({"a": [good(0.9)]}), selection=selection, split=split, notes=["cropped"]
    )
    assert found["optimistic"] is (flag is not None)
    assert found["notes"] == ([flag] if flag else []) + ["cropped"]


def test_header_and_convention():
    found = summary_of(scores({"b": [good(0.9)], "a": [good(0.7)]}))
    assert {key: found[key] for key in HEADER} == HEADER
    assert (found["format"], found["unit"], found["seconds"], found["cases"]) == (
        1,
        "voxel",
        1.5,
        ["b", "a"],
    )
    assert "Distances in voxel" in found["convention"]


def test_written_and_read_back(tmp_path):
    everything = scores(
        {"a": [good(1 / 3, hd95=math.pi), MISSED], '<b>, "c"': [BOTH_EMPTY, good(0.5)]}
    )
    everything += scores({"a": [good(0.8), good(0.7)]}, "view1")
    summary = summary_of(everything)
    write(tmp_path / "evaluation" / "test", summary, everything)
    folder = tmp_path / "evaluation" / "test"
    assert sorted(path.name for path in folder.iterdir()) == ["cases.csv", "summary.json"]
    assert read_summary(EvaluationFolder(folder)) == summary
    assert (folder / "cases.csv").read_text().splitlines()[
        0
    ] == "case,patient,view,class,dice,jaccard,hd95,asd,assd,empty"
    for before, after in zip(everything, read_cases(EvaluationFolder(folder)), strict=True):
        assert (before.case, before.patient, before.view, before.label_class) == (
            after.case,
            after.patient,
            after.view,
            after.label_class,
        )
        assert before.measures.empty == after.measures.empty
        for name in ("dice", "jaccard", "hd95", "asd", "assd"):
            assert getattr(after.measures, name) == pytest.approx(
                getattr(before.measures, name), abs=0, rel=0, nan_ok=True
            )


def test_json_holds_null_and_no_nan(tmp_path):
    everything = scores({"a": [BOTH_EMPTY], "b": [MISSED]})
    write(tmp_path, summary_of(everything), everything)
    text = (tmp_path / "summary.json").read_text()
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))
    assert found["mean"]["hd95"] == {"mean": None, "sd": None, "ci95": None, "n": 0}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    old = scores({"a": [good(0.9)]})
    write(tmp_path, summary_of(old), old)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(
        "crossview.core.files.os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, summary_of(old, seed=8), old)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_reading_what_is_not_there_or_broken(tmp_path):
    folder = EvaluationFolder(tmp_path)
    for read in (read_summary, read_cases):
        with pytest.raises(UserError, match="crossview evaluate"):
            read(folder)
    for text in ("{", "[]", '{"format": 2}', "\xff"):
        (tmp_path / "summary.json").write_text(text, encoding="latin-1")
        with pytest.raises(UserError, match=r"summary\.json"):
            read_summary(folder)
    header = ",".join(COLUMNS)
    for text in (
        "",
        "case\n",
        f"{header}\na,p,,one,1,1,1,1,1,\n",
        f"{header}\na,p,,1,high,1,1,1,1,\n",
        f"{header}\na,p,,1,,,,,,lost\n",
        f"{header}\na\n",
    ):
        (tmp_path / "cases.csv").write_text(text)
        with pytest.raises(UserError, match=r"cases\.csv"):
            read_cases(folder)


def test_cases_of_one_patient_are_counted_and_scored_together():
    made = [
        Score(case, patient, "", 1, good(dice))
        for case, patient, dice in (("a1", "a", 0.9), ("a2", "a", 0.7), ("b1", "b", 0.6))
    ]
    found = summary_of(made)
    assert found["patients"] == 2
    assert [(each["patient"], each["cases"]) for each in found["by_patient"]] == [
        ("a", 2),
        ("b", 1),
    ]
    assert [each["dice"] for each in found["by_patient"]] == pytest.approx([0.8, 0.6])
    assert summary_of(scores({"a": [good(0.9)]}))["by_patient"] == []


def test_distances_in_images_count_pixels():
    found = summary_of(scores({"a": [good(0.9)]}), dimensions=2)
    assert (found["unit"], shown_unit(found)) == ("voxel", "pixel")
    assert "Distances in pixel," in found["convention"]
    assert shown_unit({**found, "unit": "mm"}) == "mm"
    assert shown_unit(summary_of(scores({"a": [good(0.9)]}), dimensions=3)) == "voxel"


@pytest.mark.parametrize(
    "strange", [None, True, [], "x", 1.5, {}, {"dice": 1}, {"dice": {"mean": 1}}]
)
def test_a_strange_summary_has_no_answer_of_one_view(strange):
    right = {"mean": {"dice": {"mean": 0.5}}}
    assert not is_the_answer(right, {"mean": strange})
    assert not is_the_answer({"mean": strange}, right)
    assert is_the_answer(right, right)
