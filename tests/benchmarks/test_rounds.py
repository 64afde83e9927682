"""The simulated rounds: the figures of a draft, and the table."""

import numpy as np
import pytest
from benchmarks.rounds import compared, table
from tests.helpers.made_folder import write_nifti


def test_a_draft_is_compared_with_the_true_label(tmp_path):
    label = np.zeros((4, 4, 4), np.uint8)
    label[0], label[1] = 1, 2
    draft = label.copy()
    draft[0, 0], draft[2, 0, 0] = 0, 2  # four voxels missed, one too many
    write_nifti(tmp_path / "labels/a.nii.gz", label)
    write_nifti(tmp_path / "drafts/a.nii.gz", draft)
    found = compared(tmp_path / "drafts", tmp_path / "labels", "a")
    dice = pytest.approx((24 / 28 + 32 / 33) / 2)
    assert found == {"case": "a", "dice": dice, "changed": 5, "voxels": 32}


def test_the_table_names_the_run_behind_each_draft():
    drafts = [{"dice": 0.5, "changed": 3, "voxels": 10}, {"dice": 0.7, "changed": 1, "voxels": 10}]
    rounds = [{"round": number, "drafts": {"warm": drafts}} for number in (1, 2)]
    test = {"cold-0": 0.4, "warm-1": 0.8, "warm-3": 0.9, "cold-3": 0.6}
    lines = table({"rounds": rounds, "test": test}).splitlines()
    assert lines[1] == "| 1 | 4 | warm | 60.0 | 4 of 20 | 20 % | 40.0 |"
    assert lines[2] == "| 2 | 8 | warm | 60.0 | 4 of 20 | 20 % | 80.0 |"
    assert lines[-2:] == ["| end | 16 | warm | | | | 90.0 |", "| end | 16 | cold | | | | 60.0 |"]
