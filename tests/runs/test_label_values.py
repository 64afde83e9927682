"""Label values that are no class numbers, from the check to the predicted file."""

import json

import nibabel as nib
import numpy as np
import pytest
from tests.helpers.made_folder import make_folder, problems_of, scan, write_nifti, write_picture
from tests.runs.test_predict import SMALL

import crossview
from crossview.core.errors import UserError
from crossview.data.checks.dataset import check
from crossview.data.sources import folder
from crossview.data.sources.folder_cases import find_cases

VALUES = (0, 2, 5)


def stored(label, values=VALUES):
    return np.array(values, np.uint8)[label]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Scans whose labels hold 2 and 5, as dataset.json states."""
    root = make_folder(tmp_path_factory.mktemp("values") / "scans", labelled=4, unlabelled=1)
    for number in range(4):
        write_nifti(root / "labels" / f"case{number:02d}.nii.gz", stored(scan(number)[1]))
    text = json.dumps({"labels": {"background": 0, "left": 2, "right": 5}})
    (root / "dataset.json").write_text(text)
    (root / "split.toml").write_text('test = ["case03"]')
    return root


@pytest.fixture(scope="module")
def run(data):
    return crossview.train("folder", data, data.parent / "run", overrides=SMALL)[0]


def test_the_check_counts_the_stated_classes(data):
    found = check(data)
    assert [(each.value, each.name) for each in found.classes()] == [
        (0, "background"),
        (1, "left"),
        (2, "right"),
    ]
    assert not found.errors


def test_a_run_trains_on_consecutive_classes_and_predicts_the_stored_values(data, run, tmp_path):
    assert (run.recipe.data.classes, run.recipe.data.label_values) == (3, VALUES)
    assert run.plan["choices"][0]["key"] == "data.label_values"
    crossview.predict(run, [data / "images/case04.nii.gz"], tmp_path, probabilities=True)
    label = np.asanyarray(nib.load(tmp_path / "case04.nii.gz").dataobj)
    # By the model for arrays, which answers in classes.
    prediction = crossview.load(run).predict(scan(4)[0], (1.0, 1.5, 2.0))
    np.testing.assert_array_equal(label, stored(prediction.label))
    assert set(np.unique(label)) <= set(VALUES)
    summary = crossview.evaluate(run)
    assert [of_class["name"] for of_class in summary["classes"].values()] == ["left", "right"]
    note = "In the label files 2 is class 1 (left) and 5 is class 2 (right)"
    assert any(each.startswith(note) for each in summary["notes"])


def test_a_value_without_a_class_is_refused(data):
    write_nifti(data.parent / "other/images/a.nii.gz", scan(0)[0])
    write_nifti(data.parent / "other/labels/a.nii.gz", stored(scan(0)[1]) + 1)
    (data.parent / "other/dataset.json").write_text((data / "dataset.json").read_text())
    with pytest.raises(UserError) as error:
        find_cases(data.parent / "other").labelled[0].read_label()
    assert "values 1, 3, 6" in problems_of(error)
    assert "the values 0, 2, 5 only" in problems_of(error)


def test_a_recipe_without_the_key_reads_class_numbers_as_before(data):
    table = {"patch": (4, 4, 4), "classes": 6, "sampling": "crop", "augmentation": "none"}
    found = folder.splits(data, folder.Options(**table))
    np.testing.assert_array_equal(found.labelled[0].read_label(), stored(scan(0)[1]))
    assert found.class_names == ("background", "class 1", "left", "class 3", "class 4", "right")


def test_masks_of_255_are_one_class(tmp_path):
    mask = np.zeros((6, 9), np.uint8)
    mask[2:4, 3:6] = 255
    for name in ("a", "b"):
        write_picture(
            tmp_path / "images" / f"{name}.png", np.arange(54, dtype=np.uint8).reshape(6, 9)
        )
        write_picture(tmp_path / "labels" / f"{name}.png", mask)
    (tmp_path / "dataset.json").write_text('{"labels": {"nodule": 255}}')
    found = find_cases(tmp_path)
    assert found.class_names == ("background", "nodule")
    np.testing.assert_array_equal(found.labelled[0].read_label(), mask == 255)


@pytest.mark.parametrize("values", [(1, 255), (0, 2, 2), (0, 300), (0, "a", "a"), (0, "a", 1)])
def test_values_are_different_and_the_background_comes_first(values):
    with pytest.raises(ValueError, match="different numbers"):
        folder.Options(
            patch=(4, 4), classes=2, sampling="crop", augmentation="none", label_values=values
        )
