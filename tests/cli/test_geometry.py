"""Scans and labels by several programs in one folder: one grid each, to check, train and score."""

import json

import nibabel as nib
import numpy as np
from tests.helpers.command import crossview, sets
from tests.helpers.made_folder import scan
from tests.helpers.nifti import FORM, place_by_itk, stored


def moved(by):
    affine = FORM.copy()
    affine[0, 3] += by
    return affine


def mixed_folder(root):
    """Write six scans of 0.5 x 0.5 x 2 mm, each with a label by another program."""
    for name in ("images", "labels"):
        (root / name).mkdir()
    micrometres = FORM * [[1000], [1000], [1000], [1]]
    turned = np.array([[1, -1], [0, 1], [2, -1]])
    scans = {
        "plain": ({"sform": FORM, "qform": FORM}, FORM),
        "micron": ({"sform": micrometres, "xyzt_units": 3}, FORM),
        "forms": ({"sform": moved(40), "qform": FORM, "codes": (2, 1)}, FORM),
        "rounded": ({"qform": FORM}, FORM),
        "turned": ({"sform": FORM}, None),
        "vector": ({"sform": FORM}, FORM),
    }
    for number, (name, (header, of_label)) in enumerate(scans.items()):
        image, label = scan(number, (16, 14, 12))
        values = image[..., None, None] if name == "vector" else image
        path = stored(root / "images" / f"{name}.nii", values, **header)
        if name == "rounded":
            quaternion = nib.load(path).header["quatern_c"]
            assert abs(quaternion) == 1
            stored(path, values, **header, quatern_c=quaternion * 1.0001)
        mask = nib.Nifti1Image(label, FORM if of_label is None else of_label)
        mask = mask.as_reoriented(turned) if of_label is None else mask
        nib.save(mask, root / "labels" / f"{name}.nii")
    return root


def test_a_folder_by_many_programs_is_one_data_set(capsys, tmp_path):
    root = mixed_folder(tmp_path)
    code, out, err = crossview(capsys, "check", root, "--json")
    assert code == 0, out + err
    spacing = json.loads(out)["ranges"]["spacing"]
    np.testing.assert_allclose([spacing["smallest"], spacing["largest"]], [[0.5, 0.5, 2]] * 2)
    (root / "split.toml").write_text('test = ["micron", "forms", "turned"]\n')
    run = tmp_path / "run"
    small = sets(
        *("method.name=supervised", "method.steps=1"),
        *("network.filters=2", "network.levels=2", "data.patch=[8,8,8]"),
        *("inference.stride=[4,4,4]", "training.precision=float32"),
    )
    code, _, err = crossview(capsys, "train", "folder", "--data", root, "--out", run, *small)
    assert code == 0, err
    code, _, err = crossview(capsys, "evaluate", run)
    assert code == 0, err
    code, out, err = crossview(capsys, "predict", run, root / "images", "--out", tmp_path / "out")
    assert code == 0, err
    assert len(out.split()) == 6
    for path in (root / "images").iterdir():
        prediction = tmp_path / "out" / path.name
        np.testing.assert_allclose(place_by_itk(prediction), place_by_itk(path), atol=1e-6)
