"""What all scans of a set must share: channels, axes, a spacing and its unit."""

import numpy as np
import pytest
from tests.helpers.made_folder import AFFINE, make_folder, scan, write_nifti

from crossview.data.checks.dataset import check
from crossview.data.checks.rules import check_set


def only(findings):
    (finding,) = findings
    return finding


def test_axes_differ_in_training(sound, facts):
    flat, classes = np.random.default_rng(3).normal(100, 10, (1, 9, 9)), np.eye(9, dtype=np.uint8)
    odd = facts(20, image=flat.astype(np.float32), label=classes, spacing=(1.0, 1.0))
    sound["labelled"].append(odd)
    error = only([each for each in check_set(sound, None, "root") if each.severity == "error"])
    assert error.problem.what == "1 image has a different number of axes"
    assert error.problem.found == "scan20 (2 axes)"
    sound["labelled"].pop()
    sound["test"] = [odd]  # a run on slices is tested on volumes
    assert not [each for each in check_set(sound, None, "root") if each.severity == "error"]


def test_a_spacing_that_some_scans_lack(sound, facts):
    sound["unlabelled"].append(facts(20, labelled=False, spacing=None))
    error = only(check_set(sound, 3, "root"))
    assert error.severity == "error"
    assert error.problem.found == "scan20 (no voxel spacing)"
    assert error.problem.expected == "a voxel spacing, as in the other images"


@pytest.mark.parametrize(
    ("factor", "named"), [(0.001, True), (1000, True), (0.1, True), (10, False), (1, False)]
)
def test_voxel_sides_in_another_unit(tmp_path, factor, named):
    """Scans of 7 x 9 x 10 mm: of 7 x 9 x 10 m in micrometres, 0.01 mm in metres."""
    root = make_folder(tmp_path)
    for file in root.glob("images/*"):
        name = file.name[:6]
        affine = AFFINE * [factor, factor, factor, 1]
        write_nifti(file, scan(int(name[-2:]))[0], affine)
        if (label := root / "labels" / file.name).exists():
            write_nifti(label, scan(int(name[-2:]))[1], affine)
    findings = check(root).findings
    assert [found.problem.what for found in findings] == (
        ["5 cases have voxel sides that do not seem to be in mm"] if named else []
    )


def test_one_scan_in_metres_is_told_once(sound, facts):
    sound["unlabelled"].append(facts(20, labelled=False, spacing=(0.001, 0.001, 0.002)))
    finding = only(check_set(sound, 3, "root"))
    assert finding.cases == ("scan20",)
    assert "scan20 (0.001 x 0.001 x 0.002 mm)" in finding.problem.found
