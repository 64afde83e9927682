"""A minimum volume through the command: evaluate, predict and Python alike, in mm3."""

import json
import shutil
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from tests.helpers.command import crossview
from tests.helpers.made_folder import AFFINE, make_folder, write_nifti

import crossview as package
from crossview.core.errors import UserError
from crossview.inference.items import volume_of_voxel
from crossview.runs.minimum_volume import unit_of
from crossview.training import checkpoint

VOXEL = 3.0
"""mm3 of a made scan's voxel: 1 x 1.5 x 2 mm."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run whose networks say noise: pieces of all sizes."""
    root = tmp_path_factory.mktemp("minimum")
    make_folder(root / "scans", labelled=8, unlabelled=1)
    names = [f"case{number:02}" for number in range(2, 8)]
    split = f"validation = {json.dumps(names[:4])}\ntest = {json.dumps(names[4:])}\n"
    (root / "scans" / "split.toml").write_text(split)
    keys = (
        "data.patch=[16,16,16]",
        "network.filters=2",
        "method.name=supervised",
        "method.steps=1",
        "training.precision=float32",
        "inference.largest_component=false",
    )
    run, _ = package.train("folder", root / "scans", root / "run", overrides=keys)
    for path in (run.checkpoint(), run.path / "model.pt"):
        state = checkpoint.read(path)
        state["weights"]["network.last.weight"] *= 30
        state["weights"]["network.last.bias"] *= 0
        checkpoint.write(path, state)
    return root


def expected(label, minimum):
    """Return a label without pieces below ``minimum`` mm3, by scipy."""
    result = label.copy()
    for number in (1, 2):
        pieces, _ = ndimage.label(label == number, np.ones((3, 3, 3)))
        volumes = VOXEL * np.bincount(pieces.ravel())
        result[(pieces > 0) & (volumes < minimum)[pieces]] = 0
    return result


def predict(capsys, home, name, *options):
    out = home / name
    scan = home / "scans/images/case06.nii.gz"
    code, _, err = crossview(capsys, "predict", home / "run", scan, "--out", out, *options)
    assert code == 0, err
    return np.asarray(nib.load(out / "case06.nii.gz").dataobj)


def test_predict_evaluate_and_python_remove_the_same_pieces(capsys, home):
    every = predict(capsys, home, "every")
    volumes = [
        VOXEL * size
        for number in (1, 2)
        for size in np.bincount(ndimage.label(every == number, np.ones((3, 3, 3)))[0].ravel())[1:]
    ]
    minimum = sorted(volumes)[len(volumes) // 2]
    wanted = expected(every, minimum)
    assert 0 < (wanted > 0).sum() < (every > 0).sum()
    few = predict(capsys, home, "few", "--minimum-volume", f"{minimum}")
    np.testing.assert_array_equal(few, wanted)
    code, _, err = crossview(
        capsys, "evaluate", home / "run", "--minimum-volume", f"{minimum},{minimum}"
    )
    assert code == 0, err
    evaluated = home / "run/evaluation/test"
    summary = json.loads((evaluated / "summary.json").read_text())
    assert summary["minimum_volume"] == [minimum, minimum]
    assert summary["clean_up"] == f"pieces of at least {minimum:g} mm3"
    truth = np.asarray(nib.load(home / "scans/labels/case06.nii.gz").dataobj)
    dice = [
        2 * ((wanted == k) & (truth == k)).sum() / ((wanted == k).sum() + (truth == k).sum())
        for k in (1, 2)
    ]
    rows = (evaluated / "cases.csv").read_text().splitlines()
    found = [float(row.split(",")[4]) for row in rows if row.startswith("case06,case06,,")]
    assert found == pytest.approx(dice)
    image = nib.load(home / "scans/images/case06.nii.gz").get_fdata(dtype=np.float32)
    model = package.load(home / "run")
    model.predictor.options = model.predictor.options.model_copy(
        update={"minimum_volume": (minimum,)}
    )
    label = model.predict(image, spacing=np.diag(AFFINE)[:3]).label
    np.testing.assert_array_equal(label, wanted)


def test_other_volumes_are_another_prediction(capsys, home):
    predict(capsys, home, "again")
    scan = home / "scans/images/case05.nii.gz"
    options = ("--out", home / "again", "--minimum-volume")
    code, _, err = crossview(capsys, "predict", home / "run", scan, *options, "9")
    assert code == 2
    assert "minimum_volume" in err
    assert crossview(capsys, "predict", home / "run", scan, *options, "0")[0] == 0


def test_a_volume_is_chosen_on_the_validation_cases(capsys, home):
    found = package.choose_minimum_volume(home / "run")
    assert (found.unit, found.cases, found.patients) == ("mm3", 4, 4)
    assert [each.name for each in found.classes] == ["class 1", "class 2"]
    best = [each.volume for each in found.classes]
    kept = package.evaluate(home / "run", split="validation", minimum_volume=best)
    every = package.evaluate(home / "run", split="validation")
    for number, choice in enumerate(found.classes, 1):
        for summary, dice in ((every, choice.dice[0]), (kept, max(choice.dice))):
            assert summary["classes"][str(number)]["dice"]["mean"] == pytest.approx(dice)
    code, text, err = crossview(capsys, "evaluate", home / "run", "--choose-minimum-volume")
    assert code == 0, err
    assert "minimum volume on validation: 4 cases" in text
    assert "Intervals over only 4 patients" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--minimum-volume", "9,x"], "the minimum volume is no number"),
        (["--minimum-volume", "1,2,3"], "the minimum volumes do not fit the classes"),
        (["--minimum-volume=-1"], "the minimum volumes do not fit the classes"),
        (["--minimum-volume", "nan"], "--minimum-volume"),
        (["--choose-minimum-volume", "--split", "test"], "test cases must not choose"),
        (["--choose-minimum-volume", "--minimum-volume", "9"], "takes all validation cases"),
    ],
)
def test_bad_input(capsys, home, options, said):
    code, _, err = crossview(capsys, "evaluate", home / "run", *options)
    assert code == 2, err
    assert said in err


def test_without_validation_cases_nothing_is_chosen(home):
    folder = make_folder(home / "none", labelled=3, unlabelled=0)
    write_nifti(folder / "images/case09.nii.gz", np.zeros((7, 6, 5), np.int16))
    with pytest.raises(UserError, match="no validation cases"):
        package.choose_minimum_volume(home / "run", folder)


@pytest.mark.parametrize(
    ("source", "patch", "spacing", "unit"),
    [
        ("folder", (16, 16, 16), (1.0, 1.0, 2.0), "mm3"),
        ("folder", (16, 16), (0.0, 1.0, 1.0), "mm3"),  # slices of volumes
        ("folder", (16, 16), (), "pixels"),
        ("acdc", (16, 16), (), "voxels"),
        ("la", (16, 16, 16), (), "voxels"),
    ],
)
def test_the_unit_is_that_of_the_models_scans(source, patch, spacing, unit):
    data = SimpleNamespace(source=source, patch=patch, spacing=spacing)
    assert unit_of(SimpleNamespace(data=data)) == unit
    sides = (1.0, 2.0, 2.5)
    assert volume_of_voxel(data, sides) == (5.0 if unit == "mm3" else 1.0)
    assert volume_of_voxel(data, None) == 1.0


def test_scores_with_another_volume_are_another_row(home, tmp_path):
    runs = [shutil.copytree(home / "run", tmp_path / name) for name in ("every", "few")]
    for run, volume in zip(runs, ([0], [9]), strict=True):
        package.evaluate(run, minimum_volume=volume)
    labels = [row.method for row in package.compare(runs).rows]
    assert labels == [
        "supervised inference.minimum_volume=[]",
        "supervised inference.minimum_volume=[9.0]",
    ]
