"""The annotator's round, through the command: labels by name, every format of scans, drafts back.

The labels are Slicer's, with other values in each file; scans are NIfTI, MHA and a DICOM series.
"""

import json
import re

import nibabel as nib
import numpy as np
import pytest
from tests.data.sources.test_segments import segmentation
from tests.helpers.command import crossview, sets
from tests.helpers.dicom import write_series
from tests.helpers.made_folder import AFFINE, scan, write_nifti

from crossview.data.io import ScanFiles
from crossview.data.io.label_map import LabelMap
from crossview.runs.view.view import view

sitk = pytest.importorskip("SimpleITK")

NAMES = ["wall", "chamber"]

SETS = sets(
    *("network.filters=2", "network.levels=2", "data.patch=[8,8,8]", "method.name=supervised"),
    *("method.steps=2", "training.precision=float32"),
)


def ran(capsys, *arguments) -> str:
    code, out, err = crossview(capsys, *arguments)
    assert code == 0, err
    return out + err


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "scans"
    for number in range(6):
        image, label = scan(number)
        name = f"case{number}"
        if number == 4:
            write_series(root / "images" / name, np.abs(image).astype(np.int16), AFFINE)
            continue
        write_nifti(root / "images" / f"{name}.nii.gz", image)
        if number == 3:
            nifti = root / "images" / f"{name}.nii.gz"
            sitk.WriteImage(sitk.ReadImage(str(nifti)), str(root / "images" / f"{name}.mha"))
            nifti.unlink()
        if number < 2:
            wall, chamber = ((1, 2), (2, 1))[number]
            values = np.array([0, wall, chamber], np.uint8)[label]
            segments = [("wall", wall, 0), ("chamber", chamber, 0)]
            segmentation(root / "labels" / f"{name}.seg.nrrd", [values], segments)
    return root


def corrected(root, name) -> np.ndarray:
    """Save a draft as an editor does, some voxels changed, values and order its own."""
    draft = sitk.ReadImage(str(root / "drafts" / f"{name}.seg.nrrd"))
    assert [draft.GetMetaData(f"Segment{number}_Name") for number in (0, 1)] == NAMES
    before = sitk.GetArrayFromImage(draft)
    after = before.copy()
    after[0:2, 2:6, 2:6], after[2:4, 2:6, 2:6] = 1, 2
    saved = sitk.GetImageFromArray(np.array([0, 9, 4], np.uint8)[after])
    saved.CopyInformation(draft)
    for key in draft.GetMetaDataKeys():
        if not key.startswith("Segment"):
            saved.SetMetaData(key, draft.GetMetaData(key))
    for number, segment, value in ((0, "chamber", 4), (1, "wall", 9)):
        saved.SetMetaData(f"Segment{number}_Name", segment)
        saved.SetMetaData(f"Segment{number}_LabelValue", str(value))
    sitk.WriteImage(saved, str(root / "labels" / f"{name}.seg.nrrd"))
    dice = [
        2 * ((before == k) & (after == k)).sum() / ((before == k).sum() + (after == k).sum())
        for k in (1, 2)
    ]
    return np.array([(before != after).sum(), (after > 0).sum(), np.mean(dice)])


def test_a_folder_of_every_format_goes_round(capsys, root, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert "No problems found" in ran(capsys, "check", root)
    ran(capsys, "train", "folder", "--data", root, "--out", one, *SETS)
    out = tmp_path / "out"
    ran(capsys, "predict", one, root / "images", "--out", out, "--format", "seg.nrrd")
    assert len([*out.glob("case?.seg.nrrd")]) == 6
    told = ran(capsys, "suggest", one, "-n", 4, "--drafts", root / "drafts")
    assert f"--from {one} --set method.name=supervised --out NEW_RUN" in told
    assert len([*(root / "drafts").glob("case?.seg.nrrd")]) == 4
    meaning, plain = LabelMap((), ("background", *NAMES)), tmp_path / "plain"
    files = [root / "images" / name for name in ("case3.mha", "case4", "case5.nii.gz")]
    ran(capsys, "predict", one, *files, "--out", plain)
    for file in files:
        name = file.name[:5]
        draft = ScanFiles(name, (file,), root / f"drafts/{name}.seg.nrrd").read_label(meaning)
        np.testing.assert_array_equal(draft, nib.load(plain / f"{name}.nii.gz").get_fdata())
    expected = {name: corrected(root, name) for name in ("case3", "case4")}
    told = ran(capsys, "train", "folder", "--from", one, "--out", two, *SETS)
    assert "labels that came after a draft: case3, case4" in told
    assert "taken network" in told
    assert "new heads" not in told
    cases = json.loads((two / "rounds.json").read_text())["rounds"][0]["cases"]
    for name, values in expected.items():
        found = [cases[name][key] for key in ("changed", "voxels", "dice")]
        np.testing.assert_allclose(found, values)
    changed, voxels, _ = sum(expected.values())
    page = re.sub(r"<[^>]+>", "", (two / "report.html").read_text())
    assert f"{int(changed):,}" in page
    assert f"{int(voxels):,}" in page
    with view(root / "drafts", scans=root / "images", labels=root / "labels") as server:
        shown = {case.name: case.score for case in server.gallery.cases}
        for name, values in expected.items():
            assert shown[name] == pytest.approx(values[2])
        layers = server.gallery.opened(0).facts()["layers"]
    assert [key[1] for key in layers[1]["keys"]] == NAMES


def test_a_new_label_that_names_the_classes_in_another_order_keeps_the_heads(
    capsys, root, tmp_path
):
    one, two = tmp_path / "one", tmp_path / "two"
    for path, number in ((root / "labels/case1.seg.nrrd", 1), (root / "labels/case2.seg.nrrd", 2)):
        segments = [("wall", 1, 0), ("chamber", 2, 0)]
        segmentation(path, [scan(number)[1]], segments)
    (root / "labels/case0.seg.nrrd").unlink()
    ran(capsys, "train", "folder", "--data", root, "--out", one, *SETS)
    segments = [("chamber", 2, 0), ("wall", 1, 0)]
    segmentation(root / "labels/case0.seg.nrrd", [scan(0)[1]], segments)
    told = ran(capsys, "train", "folder", "--from", one, "--out", two, *SETS)
    assert "new heads" not in told
    assert 'data.label_values = [0, "wall", "chamber"]' in told
    assert "in its order" in " ".join(told.split())


def test_a_label_of_numbers_next_to_named_ones_needs_a_statement(capsys, root):
    write_nifti(root / "labels/case2.nii.gz", scan(2)[1])
    code, text, err = crossview(capsys, "check", root)
    assert code == 2, err
    told = " ".join(text.split())
    assert "segments named wall, chamber" in told
    assert 'such as "wall" = ["wall", 1]' in told
    (root / "split.toml").write_text('[labels]\n"wall" = ["wall", 1]\n"chamber" = ["chamber", 2]\n')
    assert "No problems found" in ran(capsys, "check", root)


def spoilt_scan(root):
    image = sitk.ReadImage(str(root / "images/case2.nii.gz"))
    (root / "images/case2.nii.gz").unlink()
    sitk.WriteImage(image, str(root / "images/case2.nrrd"))
    path = root / "images/case2.nrrd"
    path.write_bytes(re.sub(rb"space directions:[^\n]*\n", b"", path.read_bytes()))


def spoilt_label(old: bytes, new: bytes):
    def spoil(root):
        path = root / "labels/case1.seg.nrrd"
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new))

    return spoil


def misspelt_class(root):
    (root / "split.toml").write_text("[labels]\nwall = 1\nchamber = 2\n")
    spoilt_label(b"Name:=wall", b"Name:=wal")(root)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoilt_label(b"Name:=wall", b"Name:=chamber"), "two segments have the same name"),
        (misspelt_class, "did you mean wall?"),
        (spoilt_label(b"Name:=wall", b"Name:=Wall"), "differ in capitals only"),
        (
            spoilt_label(b"space origin: (", b"space origin: (90,0,0)\nwas:=("),
            "reaches beyond its scan",
        ),
        (spoilt_scan, "no space directions"),
    ],
)
def test_a_bad_file_stops_check_and_training_before_anything_is_written(
    capsys, root, tmp_path, spoil, told
):
    spoil(root)
    run = tmp_path / "run"
    train = ("train", "folder", "--data", root, "--out", run, *SETS)
    for arguments in (("check", root), train):
        code, out, err = crossview(capsys, *arguments)
        assert (code, told in " ".join((out + err).split())) == (2, True), out + err
    assert not run.exists()
