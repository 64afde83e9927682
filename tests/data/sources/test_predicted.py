"""Predictions of a model as labels of the unlabelled scans: in training, and nowhere else."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from tests.helpers.command import crossview
from tests.helpers.made_folder import SHAPE, make_folder, write_nifti

from crossview.core.errors import UserError
from crossview.data.sources import find_splits
from crossview.data.sources.folder import Options
from crossview.recipe.planned import resolve_planned
from crossview.recipe.resolve import resolve
from crossview.runs.prepare import prepare

KEYS = {"patch": (4, 4, 4), "classes": 3, "augmentation": "none", "sampling": "crop"}
SMALL = ("data.patch=[8,8,8]", "network.filters=2", "method.steps=1", "training.precision=float32")


def prediction(number):
    label = np.zeros(SHAPE, np.uint8)
    label[number : number + 2, 1:4, 2] = 1
    label[0, 0, 0] = 2
    return label


@pytest.fixture
def scans(tmp_path):
    """Two labelled scans, two without a label and with a prediction, and one to test on."""
    root = make_folder(tmp_path / "scans", labelled=3, unlabelled=2)
    (root / "split.toml").write_text('test = ["case00"]\n')
    for number in (3, 4):
        write_nifti(root / "predicted" / f"case{number:02}.nii.gz", prediction(number))
    (root / "predicted" / "predicted-by.json").write_text("{}")
    return root


def test_predictions_are_taught_and_nothing_else(scans):
    splits = find_splits(Options(**KEYS, predicted=True), scans)
    assert [case.id for case in splits.taught] == ["case01", "case02", "case03", "case04"]
    assert [case.id for case in splits.labelled] == ["case01", "case02"]
    assert [case.id for case in splits.unlabelled] == ["case03", "case04"]
    assert not any(case.labelled for case in splits.unlabelled)
    for case in splits.predicted:
        stored = nib.load(scans / "predicted" / f"{case.id}.nii.gz")
        assert np.array_equal(case.read_label(), np.asarray(stored.dataobj))
    assert "2 unlabelled scans are predictions" in splits.notes[-1]
    assert find_splits(Options(**KEYS), scans).predicted == ()


def test_batches_hold_predicted_labels(scans):
    recipe = resolve(
        "folder", ["data.predicted=true", "method.name=supervised", *planned(), *SMALL]
    )
    prepared = prepare(recipe, scans)
    assert prepared.stream.labelled.ids == ("case01", "case02", "case03", "case04")
    seen = {value for step in range(20) for value in classes_of(prepared, step)}
    assert seen == {0, 1, 2}


def planned():
    return (
        *("data.classes=3", "data.spacing=[]", "data.normalisation=z_score"),
        *("data.augmentation=none", "network.name=vnet", "network.levels=2"),
        *("training.labelled_batch=2", "training.unlabelled_batch=0", "inference.stride=[4,4,4]"),
    )


def classes_of(prepared, step):
    return np.unique(prepared.stream.batch(0, step, unlabelled=False).label.numpy()).tolist()


def test_every_scan_without_a_prediction_is_named(scans):
    (scans / "predicted" / "case04.nii.gz").unlink()
    student = ["data.predicted=true", "method.name=supervised"]
    whole, open_ = resolve("folder", [*student, *planned(), *SMALL]), [*student, *SMALL]
    for begin in (lambda: prepare(whole, scans), lambda: resolve_planned("folder", open_, scans)):
        with pytest.raises(UserError) as error:
            begin()
        (problem,) = error.value.problems
        assert problem.what == "unlabelled scans have no prediction"
        assert problem.found == "1: case04"
        assert "crossview predict RUN" in problem.fix
        assert "without --predicted" in problem.fix


def test_folds_are_refused():
    with pytest.raises(ValueError, match="has seen the labels that a fold tests"):
        Options(**KEYS, predicted=True, fold=(1, 2))


def test_a_student_by_the_command(capsys, scans, tmp_path):
    run = tmp_path / "student"
    sets = [word for key in SMALL if "filters" not in key for word in ("--set", key)]
    words = ["train", "folder", "--data", scans, "--out", run, "--predicted", *sets]
    code, text, err = crossview(capsys, *words)
    assert code == 0, err
    assert "network.filters = 16" in text
    assert 'data.augmentation = "strong"' in text
    recipe = (run / "recipe.toml").read_text()
    assert 'name = "supervised"' in recipe
    assert "predicted = true" in recipe
    cases = json.loads((run / "training-cases.json").read_text())
    assert {name: case["labelled"] for name, case in cases.items()} == {
        "case01": True,
        "case02": True,
        "case03": False,
        "case04": False,
    }
    assert cases["case03"]["label"] != cases["case04"]["label"]
    shutil.rmtree(scans / "predicted")  # of no use any more
    code, _, err = crossview(capsys, "evaluate", run)
    assert code == 0, err
    notes = json.loads((run / "evaluation/test/summary.json").read_text())["notes"]
    assert any("2 unlabelled scans are predictions of another model" in note for note in notes)
