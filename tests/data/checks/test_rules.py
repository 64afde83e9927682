"""The rules for a whole data set: each names the cases that break it and accepts sound sets."""

from dataclasses import replace

import numpy as np
import pytest

from crossview.data.checks.case import inspect_case
from crossview.data.checks.rules import check_set


def test_a_sound_set_has_no_findings(sound):
    assert check_set(sound, 3, "root") == []
    assert check_set(sound, None, "root") == []


def only(findings):
    (finding,) = findings
    return finding


def test_problems_of_cases_are_errors(sound, make_case):
    nan = np.full((1, 6, 5, 4), np.nan, np.float32)
    sound["unlabelled"].append(inspect_case(make_case("bad", nan), None))
    finding = only(check_set(sound, 3, "root"))
    assert (finding.severity, finding.cases) == ("error", ("bad",))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_labelled_cases(sound, count):
    sound["labelled"] = sound["labelled"][:count]
    finding = only(check_set(sound, None, "root"))
    assert finding.severity == "error"
    assert (finding.problem.found, finding.problem.expected) == (str(count), "at least 2")


def test_a_class_that_never_occurs(sound):
    finding = only(check_set(sound, 4, "root"))
    assert finding.severity == "warning"
    assert finding.problem.what == "class 3 never occurs in the training labels"
    assert finding.problem.found == "values 0, 1, 2"


def test_a_value_beyond_the_classes_is_an_error_and_no_gap(sound, make_case):
    masked = np.zeros((6, 5, 4), np.uint8)
    masked[1:3, 1:3, 1:3] = 255
    image = np.random.default_rng(5).normal(size=(1, 6, 5, 4)).astype(np.float32)
    sound["labelled"].append(inspect_case(make_case("mask", image, masked), 3))
    told = [finding.problem.what for finding in check_set(sound, 3, "root")]
    assert "the label has values outside the classes" in told
    assert not any("never occur" in what for what in told)


@pytest.mark.parametrize(("factor", "severity"), [(2, "warning"), (100, "error")])
def test_gaps_between_classes(sound, facts, factor, severity):
    label = np.random.default_rng(0).integers(0, 3, (6, 5, 4)).astype(np.uint8) * factor
    sound["labelled"] = [facts(number, label=np.roll(label, number)) for number in range(4)]
    assert only(check_set(sound, None, "root")).severity == severity


def test_labels_of_background_alone(sound, facts):
    empty = np.zeros((6, 5, 4), np.uint8)
    sound["labelled"] += [facts(20, label=empty), facts(21, label=empty)]
    finding = only(check_set(sound, 3, "root"))
    assert finding.severity == "warning"
    assert finding.problem.what == "2 labels contain background only"
    assert finding.cases == ("scan20", "scan21")
    sound["labelled"] = [facts(number, label=empty) for number in range(3)]
    assert "every label contains background only" in [
        found.problem.what for found in check_set(sound, None, "root") if found.severity == "error"
    ]


def test_images_of_one_value(sound, facts):
    flat = np.full((1, 6, 5, 4), 7, np.float32)
    sound["unlabelled"] += [
        facts(20, labelled=False, image=flat),
        facts(21, labelled=False, image=flat),
    ]
    finding = only(check_set(sound, 3, "root"))
    assert (finding.severity, finding.cases) == ("warning", ("scan20", "scan21"))
    sound["labelled"].append(facts(22, image=flat))
    assert [found.severity for found in check_set(sound, 3, "root")] == ["error", "warning"]


def test_copies_are_an_error_across_training_and_test(sound, facts):
    sound["unlabelled"].append(facts(0, labelled=False, name="again"))
    finding = only(check_set(sound, 3, "root"))
    assert (finding.severity, finding.cases) == ("warning", ("scan0", "again"))
    assert finding.problem.found == "scan0 = again"
    sound["test"] = [facts(5, name="tested")]
    errors = [found for found in check_set(sound, 3, "root") if found.severity == "error"]
    assert only(errors).cases == ("scan5", "tested")
    sound["test"], sound["unused"] = [], sound["test"]
    assert all(found.severity == "warning" for found in check_set(sound, 3, "root"))


def test_a_label_that_belongs_to_another_scan(sound, facts):
    label = np.random.default_rng(0).integers(0, 3, (6, 5, 4)).astype(np.uint8)
    sound["labelled"].append(facts(20, label=label))
    finding = only(check_set(sound, 3, "root"))
    assert finding.severity == "warning"
    assert finding.cases == ("scan0", "scan20")
    assert "identical labels" in finding.problem.what


def test_other_channels(sound, facts):
    sound["unlabelled"].append(
        facts(
            20,
            labelled=False,
            image=np.random.default_rng(1).normal(100, 10, (2, 6, 5, 4)).astype(np.float32),
        )
    )
    finding = only(check_set(sound, 3, "root"))
    assert (finding.severity, finding.cases) == ("error", ("scan20",))


@pytest.mark.parametrize(
    ("spacing", "named"),
    [((1.0, 1.0, 5.0), False), ((1.0, 1.0, 7.0), True), ((0.3, 1.0, 2.0), True)],
)
def test_voxel_sides_beyond_a_factor_of_three(sound, facts, spacing, named):
    sound["unlabelled"].append(facts(20, labelled=False, spacing=spacing))
    findings = check_set(sound, 3, "root")
    assert [found.cases for found in findings] == ([("scan20",)] if named else [])
    assert all(
        "1 x 1 x 2 mm" in found.problem.expected and found.severity == "warning"
        for found in findings
    )


def test_voxel_sides_with_which_a_scan_becomes_too_large_are_an_error(sound, facts):
    """Training would refuse it, once all scans have been read."""
    sound["unlabelled"].append(facts(20, labelled=False, spacing=(1e4, 1e4, 1e4)))
    (error,) = (found for found in check_set(sound, 3, "root") if found.severity == "error")
    assert error.cases == ("scan20",)
    assert "scan20 (1e+04 x 1e+04 x 1e+04 mm)" in error.problem.found
    assert "resampled to the median 1 x 1 x 2 mm" in error.problem.expected


def test_a_set_that_varies_much_has_no_outlier_within_its_spread(sound, facts):
    sides = (0.3, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
    sound["unlabelled"] = [
        facts(20 + number, labelled=False, spacing=(1.0, 1.0, side))
        for number, side in enumerate(sides)
    ]
    assert check_set(sound, 3, "root") == []


def noise(scale=10.0, shift=100.0):
    return np.random.default_rng(1).normal(shift, scale, (1, 6, 5, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("image", "named"),
    [
        (noise(), False),
        (noise(50), False),
        (noise(1000, 10_000), True),
        (noise(0.1), True),
        (noise(10, 10_000), True),
    ],
    ids=["alike", "five times", "hundred times", "a hundredth", "shifted"],
)
def test_intensities_of_another_range(sound, facts, image, named):
    sound["unlabelled"].append(facts(20, labelled=False, image=image))
    findings = check_set(sound, 3, "root")
    assert [found.cases for found in findings] == ([("scan20",)] if named else [])
    assert all("an unusual intensity range" in found.problem.what for found in findings)


def test_single_voxels_far_outside(make_case, sound):
    image = np.random.default_rng(1).normal(100, 10, (1, 20, 20, 20)).astype(np.float32)
    image[0, 3, 3, 3] = 1.7e6
    case = replace(make_case("spike", image), spacing=(1.0, 1.0, 2.0))
    sound["unlabelled"].append(inspect_case(case, None))
    finding = only(check_set(sound, 3, "root"))
    assert finding.cases == ("spike",)
    assert "1700000" in finding.problem.found


def test_names_that_tell_a_patient(sound, facts):
    sound["labelled"].append(facts(20, name="sub-07_ses-1"))
    sound["test"] = [facts(21, name="sub-07_ses-2"), facts(22, name="sub-08_ses-1")]
    finding = only(check_set(sound, 3, "root"))
    assert finding.severity == "warning"
    assert finding.cases == ("sub-07_ses-1", "sub-07_ses-2")
