"""nnU-Net's predictions are scored by crossview's metrics, and the table pairs the two sides."""

import json

import nibabel
import numpy as np
import pytest
from benchmarks.versus_nnunet import against, folders, largest, prepare, score, table


@pytest.fixture
def labels():
    """Two cases of two classes, with a speck apart from class 1's prediction in the second."""
    truth = np.zeros((2, 8, 8, 4), np.uint8)
    truth[:, 1:3, 1:5] = 1
    truth[:, 4:6, 1:5] = 2
    predicted = truth.copy()
    predicted[1, 7, 7, 3] = 1
    return truth, predicted


def save(folder, arrays):
    folder.mkdir(parents=True)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    for name, array in zip("ab", arrays, strict=True):
        nibabel.save(nibabel.Nifti1Image(array, affine), folder / f"{name}.nii.gz")


def test_score_with_and_without_largest_components(tmp_path, labels):
    truth, predicted = labels
    save(tmp_path / "data" / "labels", truth)
    save(tmp_path / "predictions", predicted)
    found = score(tmp_path / "data", tmp_path / "predictions", ["a", "b"], lambda label: label)
    voxels = int((truth[0] == 1).sum())
    assert found["dice"]["cases"] == {
        "a": [1.0, 1.0],
        "b": [pytest.approx(2 * voxels / (2 * voxels + 1)), 1.0],
    }
    cleaned = score(tmp_path / "data", tmp_path / "predictions", ["a", "b"], largest)
    assert cleaned["dice"]["mean"] == 1
    assert cleaned["hd95"]["mean"] == 0


def test_rows_are_paired_with_ours(tmp_path, labels):
    truth, predicted = labels
    save(tmp_path / "data" / "labels", truth)
    save(tmp_path / "predictions", predicted)
    theirs = {"seconds": 4.0, "iterations": 7} | score(
        tmp_path / "data", tmp_path / "predictions", ["a", "b"], lambda label: label
    )
    ours = {"seconds": 4.0} | score(
        tmp_path / "data", tmp_path / "predictions", ["a", "b"], largest
    )
    difference = against(ours, theirs)
    assert difference["crossview_minus_this"]["mean"] == pytest.approx(1 - theirs["dice"]["mean"])
    assert against(ours, ours) == {}
    shown = table({"rows": {"crossview": ours, "nnU-Net": theirs | difference}})
    assert "| crossview | 4 |  | 100.00 [100.00, 100.00] | 0.00 |  |" in shown
    assert "| nnU-Net | 4 | 7 |" in shown


def test_the_data_is_laid_out_as_nnunet_reads_it(tmp_path, labels):
    truth, _ = labels
    for folder in ("images", "labels"):
        save(tmp_path / "data" / folder, truth)
    about = {"labels": {"0": "background", "1": "anterior", "2": "posterior"}}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(about))
    tool = tmp_path / "env" / "nnUNetv2_plan_and_preprocess"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "$@" > "$nnUNet_raw/asked"\n')
    tool.chmod(0o755)
    here = folders(tmp_path / "nnunet")
    prepare(tmp_path / "data", here, ["a"], ["b"], tool.with_name("python"))
    raw = tmp_path / "nnunet" / "raw"
    found = sorted(str(path.relative_to(raw / "Dataset100_few")) for path in raw.rglob("*.nii.gz"))
    assert found == ["imagesTr/a_0000.nii.gz", "imagesTs/b_0000.nii.gz", "labelsTr/a.nii.gz"]
    written = json.loads((raw / "Dataset100_few" / "dataset.json").read_text())
    assert written["labels"] == {"background": 0, "anterior": 1, "posterior": 2}
    assert (raw / "asked").read_text().split()[:4] == ["-d", "100", "-c", "3d_fullres"]
