"""The classes of all labels: held-out ones that training lacks, and masks with grey edges."""

import numpy as np
import pytest
from scipy import ndimage
from tests.helpers.made_folder import make_folder, scan, write_nifti, write_picture

from crossview.core.errors import UserError
from crossview.data.checks.dataset import check
from crossview.recipe.planned import resolve_planned


def with_class_3(root, name):
    """Give a case's label a class that no other has."""
    label = scan(int(name[-2:]))[1]
    label[label == 2] = 3
    write_nifti(root / f"labels/{name}.nii.gz", label)


@pytest.mark.parametrize("role", ["test", "validation"])
def test_a_class_of_held_out_labels_only_is_an_error(tmp_path, role):
    root = make_folder(tmp_path, labelled=5)
    with_class_3(root, "case04")
    (root / "split.toml").write_text(f'{role} = ["case03", "case04"]\n')
    (error,) = check(root).errors
    assert error.problem.what.startswith("1 label of validation or test has classes that no")
    assert error.problem.found == "case04 (3)"
    assert error.problem.expected == "classes 0 to 2, as in training"
    assert error.cases == ("case04",)


def test_a_class_that_training_shows_or_dataset_json_names_is_none(tmp_path):
    root = make_folder(tmp_path / "shown", labelled=5)
    with_class_3(root, "case04")
    with_class_3(root, "case01")
    (root / "split.toml").write_text('test = ["case03", "case04"]\n')
    assert check(root).findings == ()
    root = make_folder(tmp_path / "named", labelled=5, images="imagesTr", labels="labelsTr")
    label = scan(4)[1]
    write_nifti(root / "labelsTr/case04.nii.gz", np.where(label == 2, 3, label).astype(np.uint8))
    (root / "split.toml").write_text('test = ["case04"]\n')
    names = '{"background": 0, "a": 1, "b": 2, "c": 3}'
    (root / "dataset.json").write_text(f'{{"labels": {names}, "channel_names": {{"0": "MRI"}}}}')
    (finding,) = check(root).findings
    assert finding.problem.what == "class 3 never occurs in the training labels"


@pytest.mark.parametrize("named", [False, True], ids=["no dataset.json", "one class named"])
def test_masks_with_grey_edges_are_one_error(tmp_path, named):
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:96, :96]
    for number in range(3):
        ball = (rows - 40 - number) ** 2 + (columns - 50) ** 2 < 900
        image = random.normal(90, 12, ball.shape) + 60 * ball
        mask = ndimage.gaussian_filter(255.0 * ball, 2).round()
        write_picture(tmp_path / f"images/p{number}.png", image.clip(0, 255).astype(np.uint8))
        write_picture(tmp_path / f"labels/p{number}.png", mask.astype(np.uint8))
    if named:
        (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "ball": 1}}')
    (finding,) = check(tmp_path).findings
    assert finding.severity == "error"
    assert finding.problem.what.startswith("3 labels are masks with grey edges")
    assert "p0 (" in finding.problem.found
    assert "mask > 127" in finding.problem.fix
    assert finding.cases == ("p0", "p1", "p2")
    with pytest.raises(UserError, match="3 labels are masks with grey edges"):
        resolve_planned("folder", ["method.name=supervised"], tmp_path)


def test_masks_of_0_and_255_keep_their_own_error(tmp_path):
    root = make_folder(tmp_path)
    for number in range(3):
        label = scan(number)[1]
        write_nifti(root / f"labels/case0{number}.nii.gz", (255 * (label > 0)).astype(np.uint8))
    (error,) = check(root).errors
    assert error.problem.what == "the label values are not consecutive class numbers"
    assert error.problem.expected == "0 to 1"
