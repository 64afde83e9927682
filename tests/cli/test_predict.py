"""`crossview predict`: the memory that a scan needs, and the weights of windows."""

import json

import nibabel
import numpy as np
import pytest
from tests.helpers.command import crossview as command
from tests.helpers.command import sets
from tests.helpers.made_folder import make_folder, scan, write_nifti

import crossview

SMALL = [
    "method.pretrain_steps=1",
    "method.train_steps=1",
    "method.ready_dice=0.0",
    "network.filters=2",
    "network.levels=2",
    "data.patch=[8,8,8]",
    "data.spacing=[]",
    "inference.stride=[4,4,4]",
    "training.device=cpu",
    "training.precision=float32",
]


def trained(root, *more):
    """Return the folder of a run of two steps."""
    data = make_folder(root / "scans")
    return crossview.train("folder", data, root / "run", overrides=[*SMALL, *more])[0].path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("predict"))


def test_a_scan_beyond_the_memory_is_refused_before_work_begins(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("crossview.inference.memory.available_memory", lambda: 1_200_000_000)
    scans = tmp_path / "scans"
    write_nifti(scans / "a.nii.gz", scan(1)[0])
    header = nibabel.Nifti1Image(np.zeros((1, 1, 1), np.int16), np.eye(4)).header
    header.set_data_shape((512, 512, 300))
    with (scans / "b.nii").open("wb") as file:
        header.write_to(file)
        file.truncate(352 + 2 * 512 * 512 * 300)
    code, out, err = command(capsys, "predict", run, scans, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    err = " ".join(err.split())
    # While it is normalised, a channel takes 16 bytes per voxel: 16 x 512 x 512 x 300 = 1.26 GB.
    assert str(scans / "b.nii") in err
    assert "1.2 GB available" in err
    assert "at least 1.3 GB" in err
    assert "raise the memory limit" in err
    assert "a.nii.gz" not in err
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr("crossview.inference.memory.available_memory", lambda: None)
    code, _, err = command(capsys, "predict", run, scans / "a.nii.gz", "--out", tmp_path / "out")
    assert code == 0, err


def test_windows_are_weighed_as_the_recipe_says(run, tmp_path, capsys):
    gaussian = trained(tmp_path, "inference.window=gaussian")
    file = write_nifti(tmp_path / "a.nii.gz", scan(1, (14, 9, 8))[0])
    maps = []
    for folder in (run, gaussian):
        out = tmp_path / f"out{len(maps)}"
        code, _, err = command(capsys, "predict", folder, file, "--out", out, "--probabilities")
        assert code == 0, err
        maps.append(nibabel.load(out / "probability" / "a.nii.gz").get_fdata())
        origin = json.loads((out / "predicted-by.json").read_text())["inference"]
        assert origin.get("window", "uniform") == ("uniform", "gaussian")[len(maps) - 1]
    uniform, weighted = maps
    assert np.abs(uniform - weighted).max() > 1e-4
    # Rows 0 to 3 of the first axis and row 0 of the second are in one window alone.
    np.testing.assert_allclose(weighted[:4, 0], uniform[:4, 0], atol=1e-6)
    np.testing.assert_allclose(weighted.sum(-1), 1, atol=1e-5)


def test_unknown_weights_of_windows_are_refused(capsys):
    code, out, err = command(capsys, "recipe", "demo", *sets("inference.window=hann"))
    assert (code, out) == (2, "")
    assert "[inference]: key 'window' has a wrong value" in err
    assert "'uniform' or 'gaussian'" in err
