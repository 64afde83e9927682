"""The estimated Dice: a line fitted to held-out scans, its error, and when there is none."""

import json

import numpy as np
import pytest

from crossview.core.run_folder import RunFolder
from crossview.evaluation.estimate import FEWEST, HeldOut, estimate_of, fitted


def rows(expected, dice, patients=None):
    patients = patients or [str(number) for number in range(len(dice))]
    return [HeldOut(*each) for each in zip(patients, expected, dice, strict=True)]


def errors_by_hand(found):
    """Return the errors of line and mean with each patient left out, by numpy's own fit."""
    of_line, of_mean = [], []
    for patient in {each.patient for each in found}:
        others = [each for each in found if each.patient != patient]
        x, y = [each.expected for each in others], [each.dice for each in others]
        slope, intercept = np.polyfit(x, y, 1)
        for each in found:
            if each.patient == patient:
                of_line.append(abs(intercept + slope * each.expected - each.dice))
                of_mean.append(abs(np.mean(y) - each.dice))
    return np.mean(of_line), np.mean(of_mean)


def test_a_straight_line_is_found_with_its_error():
    expected = np.linspace(0.8, 0.98, 12)
    noise = 0.01 * np.array([1, -1, 0, 1, -1, 0, 0, 1, -1, 0, 1, -1])
    patients = [str(number // 2) for number in range(4)] + [str(number) for number in range(2, 10)]
    found = rows(expected, 0.1 + 0.8 * expected + noise, patients)
    estimate = fitted(found)
    assert estimate.patients == 10
    assert estimate.scans == 12
    assert (estimate.error, estimate.error_of_mean) == pytest.approx(errors_by_hand(found))
    slope, intercept = np.polyfit(expected, [each.dice for each in found], 1)
    assert estimate.of(0.9) == pytest.approx(intercept + slope * 0.9)
    assert estimate.useful
    assert f"off by {100 * estimate.error:.2f} points" in estimate.text
    assert "12 held-out scans of 10 patients" in estimate.text


def test_nothing_is_said_of_scans_unlike_the_held_out_ones():
    estimate = fitted(rows(np.linspace(0.8, 0.9, 10), np.linspace(0.7, 0.9, 10)))
    assert estimate.of(0.85) == pytest.approx(0.8)
    for expected in (0.79, 0.91, float("nan")):
        assert estimate.of(expected) is None


@pytest.mark.parametrize("slope", [-1, 0])
def test_probabilities_that_say_nothing_estimate_nothing(slope):
    x = np.linspace(0.8, 0.9, 12)
    dice = 0.8 + slope * (x - x.mean()) + 0.02 * (-1.0) ** np.arange(12)
    estimate = fitted(rows(x, dice))
    assert not estimate.useful
    assert estimate.of(0.85) is None
    assert estimate.text.startswith("No Dice is estimated")
    assert f"{100 * estimate.error:.2f}" in estimate.text


def test_a_line_that_is_hardly_better_than_the_mean_is_not_shown():
    x = np.linspace(0.8, 0.9, 20)
    noise = 0.02 * (-1.0) ** np.arange(20)
    shares = []
    for slope in (0.6, 1.5):
        estimate = fitted(rows(x, 0.8 + slope * (x - x.mean()) + noise))
        shares.append(estimate.error / estimate.error_of_mean)
        assert estimate.useful == (slope == 1.5)
    assert shares[1] < 0.75 < shares[0] < 1


def test_few_patients_are_not_enough_however_many_scans():
    x = np.linspace(0.8, 0.9, 2 * FEWEST)
    patients = [str(min(number, FEWEST - 2)) for number in range(len(x))]
    assert fitted(rows(x, x, patients)) is None
    assert fitted(rows(x[:FEWEST], x[:FEWEST])).error == pytest.approx(0, abs=1e-12)


def write_run(folder, selection="last", **splits):
    folder.mkdir()
    (folder / "recipe.toml").write_text(
        f'[method]\nname = "cml"\n[training]\nselection = "{selection}"\n'
    )
    for split, (step, count) in splits.items():
        place = folder / "evaluation" / split
        place.mkdir(parents=True)
        (place / "summary.json").write_text("{}")
        cases = {
            f"{split}{number}": {
                "patient": f"{split}{number}",
                "expected": 0.9 + number / 100,
                "dice": 0.8 + number / 100,
            }
            for number in range(count)
        }
        (place / "expected.json").write_text(json.dumps({"step": step, "cases": cases}))
    return RunFolder(folder)


def test_validation_and_test_count_together_if_of_these_weights(tmp_path):
    run = write_run(tmp_path / "run", test=(7, 6), validation=(7, 5))
    assert estimate_of(run, 7)[0].patients == 11
    estimate, text = estimate_of(run, 8)
    assert estimate is None
    assert "this run has 0" in text


def test_scans_that_chose_the_weights_are_left_out(tmp_path):
    run = write_run(tmp_path / "run", "validation", test=(7, 6), validation=(7, 10))
    estimate, text = estimate_of(run, 7)
    assert estimate is None
    assert "this run has 6" in text


@pytest.mark.parametrize("text", ["", "[]", '{"step": 7, "cases": {"a": [], "b": {"dice": "x"}}}'])
def test_damaged_files_count_nothing(tmp_path, text):
    run = write_run(tmp_path / "run", test=(7, 12))
    (run.path / "evaluation" / "test" / "expected.json").write_text(text)
    assert "this run has 0" in estimate_of(run, 7)[1]
