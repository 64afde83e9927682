"""Checks of the real sets: what is known to be odd in them is found, and nothing else."""

import pytest

from crossview.data.checks.dataset import check


def real(unpacked_data, name):
    if not (unpacked_data / name).is_dir():
        pytest.skip(f"no real data: {name} is not in CROSSVIEW_DATA")
    return check(unpacked_data / name)


def test_hippocampus_has_scans_of_another_range(unpacked_data):
    found = real(unpacked_data, "Task04_Hippocampus")
    assert found.errors == ()
    (warning,) = found.warnings
    assert "an unusual intensity range" in warning.problem.what
    assert len(warning.cases) == 31
    assert warning.problem.found.startswith("hippocampus_205 (1.303e+04 to 6.264e+05)")
    assert [share.cases for share in found.classes()] == [200, 200, 200]
    assert found.ranges()["spacing"]["median"] == [1, 1, 1]


@pytest.mark.slow
def test_acdc_has_empty_slices_and_a_patient_twice(unpacked_data):
    found = real(unpacked_data, "ACDC")
    assert found.errors == ()
    copies, empty = sorted(found.warnings, key=lambda finding: finding.problem.what)
    assert empty.problem.what == "43 labels contain background only"
    assert len(empty.cases) == 43
    assert {name.split("_")[0] for name in copies.cases} == {"patient074", "patient076"}


@pytest.mark.slow
def test_la_has_nothing(unpacked_data):
    assert real(unpacked_data, "LA").findings == ()
