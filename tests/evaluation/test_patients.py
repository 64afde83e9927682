"""Patients of an evaluation: their number in words, and the scores of each."""

from __future__ import annotations

import numpy as np
import pytest

from crossview.evaluation.patients import cases_of, caution, of_patients, only_first, worst_first


def test_a_patient_has_the_mean_over_its_cases_then_over_classes():
    dice = np.array([[0.9, 0.5], [0.7, np.nan], [0.4, 0.2]])
    hd95 = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])
    found = of_patients({"dice": dice, "hd95": hd95}, ["p1", "p1", "p2"])
    # p1: class 1 (0.9 + 0.7) / 2 = 0.8, class 2 0.5; p2: (0.4 + 0.2) / 2
    assert found == [
        {"patient": "p1", "cases": 2, "dice": pytest.approx(0.65), "hd95": 2.0},
        {"patient": "p2", "cases": 1, "dice": pytest.approx(0.3), "hd95": None},
    ]


def test_cases_that_are_their_own_patients_are_not_listed_again():
    assert of_patients({"dice": np.ones((2, 1))}, ["a", "b"]) == []


def test_the_worst_patient_comes_first_and_one_without_dice_last():
    rows = [{"patient": name, "dice": dice} for name, dice in (("a", None), ("b", 0.9), ("c", 0.1))]
    assert [each["patient"] for each in worst_first(rows)] == ["c", "b", "a"]


def test_counts_in_words():
    assert cases_of(8, 4) == "8 cases of 4 patients"
    assert cases_of(8, 8, "test case") == "8 test cases"
    assert cases_of(2, 1) == "2 cases of 1 patient"
    assert only_first(1) == "only the first case was scored"
    assert only_first(12) == "only the first 12 cases were scored"


def test_few_patients_are_cautioned_about():
    assert caution(10) == ""
    assert "only 4 patients are rough" in caution(4)
