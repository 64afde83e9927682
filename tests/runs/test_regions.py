"""Regions through the command, from the folder to the score."""

import json

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from tests.helpers.command import crossview as command
from tests.helpers.command import sets
from tests.helpers.made_folder import make_folder, scan
from tests.runs.test_predict import SMALL

import crossview
from crossview.evaluation.metrics import overlap

LABELS = {"background": 0, "whole": [1, 2], "right": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = make_folder(tmp_path_factory.mktemp("regions") / "scans", labelled=5, unlabelled=2)
    content = {"labels": LABELS, "regions_class_order": [1, 2]}
    (root / "dataset.json").write_text(json.dumps(content))
    (root / "split.toml").write_text('test = ["case03", "case04"]\n')
    return root


def settings(method):
    if method == "cml":
        return [*SMALL, "method.pretrain_steps=120", "method.train_steps=30"]
    return [*(text for text in SMALL if not text.startswith("method.")), "method.steps=90"]


@pytest.fixture(scope="module", params=["supervised", pytest.param("cml", marks=pytest.mark.slow)])
def run(request, data):
    out = data.parent / request.param
    chosen = [*settings(request.param), f"method.name={request.param}", "data.foreground_share=0.9"]
    return crossview.train("folder", data, out, overrides=chosen)[0]


def one_piece(label):
    """Return the largest component of the whole, and in it of the right."""
    whole = of_most_voxels(label > 0)
    return whole.astype(np.uint8) + of_most_voxels(whole & (label == 2))


def of_most_voxels(mask):
    numbers, count = ndimage.label(mask, np.ones((3, 3, 3)))
    return numbers == 1 + np.argmax(np.bincount(numbers[mask])[1:]) if count else mask


def array(path):
    return np.asanyarray(nib.load(path).dataobj)


def test_regions_train_predict_and_are_scored_by_name(run, data, tmp_path, capsys):
    assert run.recipe.data.regions == (("whole", (1, 2), 1), ("right", (2,), 2))
    scans = data.parent / "test-scans"
    scans.mkdir(exist_ok=True)
    for name in ("case03.nii.gz", "case04.nii.gz"):
        (scans / name).write_bytes((data / "images" / name).read_bytes())
    crossview.predict(run, [scans], tmp_path, probabilities=True, entropy=True)
    summary = crossview.evaluate(run)
    assert [of["name"] for of in summary["classes"].values()] == ["whole", "right"]
    dice = {"whole": [], "right": []}
    for number in (3, 4):
        name, truth = f"case0{number}.nii.gz", scan(number)[1]
        label = array(tmp_path / name)
        expected = np.zeros(label.shape, np.uint8)
        for value, region in enumerate(("whole", "right"), 1):
            probability = array(tmp_path / "probability" / region / name)
            assert probability.shape == label.shape
            assert 0 < probability.min() < probability.max() < 1
            expected[probability > 0.5] = value
        if run.recipe.inference.largest_component:
            expected = one_piece(expected)
        np.testing.assert_array_equal(label, expected)
        dice["whole"].append(overlap(label > 0, truth > 0)[0])
        dice["right"].append(overlap(label == 2, truth == 2)[0])
        assert array(tmp_path / "entropy" / name).max() <= 1
    assert np.mean(dice["whole"]) > 0.3
    for of in summary["classes"].values():
        assert of["dice"]["mean"] == pytest.approx(np.mean(dice[of["name"]]), abs=1e-9)
    assert any("Scores are of regions" in note for note in summary["notes"])
    code, out, _ = command(capsys, "evaluate", run.path)
    assert code == 0
    assert "whole" in out
    assert "right" in out
    assert "whole" in (run.path / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_runs_of_regions_are_averaged(run, data, tmp_path):
    scans, other = data / "images" / "case03.nii.gz", data.parent / "other"
    chosen = [*settings("supervised"), "method.name=supervised", "training.seed=7"]
    if not (other / "model.pt").exists():
        crossview.train("folder", data, other, overrides=[*chosen, "data.foreground_share=0.9"])
    found = []
    for folder, runs in (("one", run), ("two", other), ("both", [run, other])):
        crossview.predict(runs, [scans], tmp_path / folder, probabilities=True)
        found.append(array(tmp_path / folder / "probability" / "right" / scans.name))
    np.testing.assert_allclose(found[2], (found[0] + found[1]) / 2, atol=1e-5)


def test_other_methods_refuse_regions_before_anything_is_written(data, tmp_path, capsys):
    out = tmp_path / "run"
    keys = sets("method.name=mean_teacher")
    code, _, err = command(capsys, "train", "folder", "--data", data, "--out", out, *keys)
    assert code == 2
    assert "mean_teacher cannot be trained on regions" in err
    assert not out.exists()


@pytest.mark.slow
def test_without_regions_the_same_labels_are_exclusive_classes(data, tmp_path):
    chosen = [*settings("supervised"), "method.name=supervised", "data.regions=[]"]
    run = crossview.train("folder", data, tmp_path / "run", overrides=chosen)[0]
    summary = crossview.evaluate(run)
    assert [of["name"] for of in summary["classes"].values()] == ["class 1", "class 2"]
