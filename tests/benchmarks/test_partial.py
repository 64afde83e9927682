"""The two folders of ``benchmarks.partial`` hold the same scans and about as many clicks."""

import tomllib

import numpy as np
import pytest
from benchmarks.partial import clicks, make
from tests.helpers.made_folder import write_nifti


@pytest.fixture
def source(tmp_path):
    random = np.random.default_rng(0)
    for number in range(50):
        label = np.zeros((6, 6, 12), np.uint8)
        label[2:4, 2:4] = 1 + (np.arange(12) > 5)
        name = f"hippocampus_{number:03d}.nii.gz"
        write_nifti(tmp_path / "msd/imagesTr" / name, random.normal(0, 1, label.shape) + label)
        write_nifti(tmp_path / "msd/labelsTr" / name, label)
    return tmp_path / "msd"


def test_both_folders_have_the_same_clicks(source, tmp_path):
    folders = make(source, tmp_path / "out")
    splits = {
        name: tomllib.loads((folder / "split.toml").read_text()) for name, folder in folders.items()
    }
    slices = splits["slices"].pop("slices")
    assert splits["slices"] == splits["whole"]
    assert slices == {name: [1, 5, 9] for name in splits["whole"]["labelled"]}
    assert clicks(folders) == {"whole": 2 * 12, "slices": 8 * 3}
    assert make(source, tmp_path / "out") == folders, "what is there stays"
