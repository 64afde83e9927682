"""Several runs predict together: the mean of their probabilities, and misfits are refused."""

import itertools
import json

import nibabel as nib
import numpy as np
import pytest
from tests.helpers.command import crossview as command
from tests.helpers.made_folder import make_folder, scan

import crossview
from crossview.inference import files

SMALL = [
    "network.filters=2",
    "network.levels=2",
    "data.patch=[8,8,8]",
    "inference.stride=[4,4,4]",
    "training.device=cpu",
    "training.precision=float32",
]
SPACING = (1.0, 1.5, 2.0)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Four runs of a step on the same scans: supervised, CML, one with other data, and its seed."""
    folder = tmp_path_factory.mktemp("ensemble")
    scans = make_folder(folder / "scans")
    cml = ["method.pretrain_steps=1", "method.train_steps=0", "training.seed=5"]
    supervised = ["method.name=supervised", "method.steps=2"]
    for name, sets in {
        "supervised": supervised,
        "cml": cml,
        "other": [*supervised, "data.spacing=[2.0,2.0,2.0]", "data.classes=4"],
    }.items():
        crossview.train("folder", scans, folder / name, overrides=[*SMALL, *sets])
    return folder


def image(path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj)


def entropy(probability):
    return -np.sum(probability * np.log2(np.maximum(probability, 1e-30)), axis=0)


def test_probabilities_are_averaged_and_scans_read_once(capsys, monkeypatch, here, tmp_path):
    read, original = [], files.read_input
    monkeypatch.setattr(
        files, "read_input", lambda *of: (read.append(of[0].name), original(*of))[1]
    )
    runs, scans = [here / "supervised", here / "cml"], here / "scans" / "images"
    flags = ("--probabilities", "--disagreement")
    code, _, error = command(capsys, "predict", *runs, scans, "--out", tmp_path, *flags)
    assert code == 0, error
    assert sorted(read) == [f"case{number:02d}" for number in range(5)]
    alone = [
        crossview.load(run).predict(scan(4)[0], SPACING).probability.astype(np.float64)
        for run in runs
    ]
    mean = (alone[0] + alone[1]) / 2
    probability = np.moveaxis(image(tmp_path / "probability" / "case04.nii.gz"), -1, 0)
    np.testing.assert_allclose(probability, mean, atol=2e-6)
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    differ = entropy(mean) - (entropy(alone[0]) + entropy(alone[1])) / 2
    np.testing.assert_allclose(
        image(tmp_path / "disagreement" / "case04.nii.gz"), differ, atol=1e-5
    )
    model = crossview.load(runs)
    found = model.predict(scan(4)[0], SPACING)
    np.testing.assert_array_equal(found.label, image(tmp_path / "case04.nii.gz"))
    assert sorted(found.views) == ["run1", "run2"]

    models = json.loads((tmp_path / "predicted-by.json").read_text())["models"]
    assert [(each["method"], each["step"]) for each in models] == [("supervised", 2), ("cml", 1)]
    code, _, error = command(capsys, "predict", *runs[:1], scans, "--out", tmp_path, "--resume")
    assert (code, "predictions of a different model" in error) == (2, True)
    assert "the mean of 2 models (supervised, step 2" in " ".join(error.split())


def test_runs_that_see_scans_differently_are_refused_before_anything_is_written(
    capsys, here, tmp_path
):
    one, other, scans = here / "supervised", here / "other" / "model.pt", here / "scans" / "images"
    out = tmp_path / "out"
    for arguments, told in (
        ((one, other, scans), ("differ in data.spacing", "differ in data.classes", "run 2")),
        ((one, one / "model.pt", scans), ("the same model is given twice",)),
        ((one, here / "cml"), ("no scans to predict are given",)),
    ):
        code, _, error = command(capsys, "predict", *arguments, "--out", out)
        assert code == 2
        assert all(text in " ".join(error.split()) for text in told), error
    assert not out.exists()


def test_the_order_of_runs_changes_only_rounding(here):
    runs = [here / "supervised", here / "cml"]
    one, other = (
        crossview.load(list(each)).predict(scan(3)[0], SPACING).probability
        for each in itertools.permutations(runs)
    )
    np.testing.assert_allclose(one, other, atol=1e-6)
