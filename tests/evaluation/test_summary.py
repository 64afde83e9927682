"""The numbers of a summary, and the conventions for empty masks."""

from __future__ import annotations

import numpy as np
import pytest
from tests.helpers.made_scores import BOTH_EMPTY, HEADER, MISSED, SPURIOUS, good, scores, summary_of

from crossview.evaluation.bootstrap import interval
from crossview.evaluation.scores import OTHER_CLEAN_UP, Score
from crossview.evaluation.summary import shown_unit


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
