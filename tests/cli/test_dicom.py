"""DICOM series in a data set and for prediction: what NIfTI gives, and nothing of the patient."""

import json
import shutil
from pathlib import Path
from zipfile import ZipFile

import nibabel as nib
import numpy as np
import pytest
from tests.helpers.command import crossview, sets
from tests.helpers.dicom import OBLIQUE, PATIENT, read, read_header, uid, write_series
from tests.helpers.made_folder import scan, write_nifti

from crossview.core.errors import UserError
from crossview.data.io.dicom_seg import read as read_seg
from crossview.data.io.dicom_seg import write as write_seg
from crossview.data.sources.folder_cases import find_cases

SHAPE = (16, 14, 12)

SMALL = sets(
    *("method.name=supervised", "method.steps=1", "network.filters=2", "network.levels=2"),
    *("data.patch=[8,8,8]", "inference.stride=[4,4,4]", "training.precision=float32"),
)


def folder(root: Path, dicom: bool) -> Path:
    """Write five scans, three with labels; as DICOM those of number 0, 1 (zipped) and 3."""
    for number in range(5):
        image, label = scan(number, SHAPE)
        path = root / "images" / f"case{number}"
        if dicom and number in (0, 1, 3):
            write_series(path, image, seed=str(number))
        else:
            write_nifti(path.with_suffix(".nii.gz"), image, OBLIQUE)
        if number < 3:
            write_nifti(root / "labels" / f"case{number}.nii.gz", label, OBLIQUE)
    if dicom:
        zipped = root / "images" / "case1"
        shutil.make_archive(str(zipped), "zip", zipped)
        shutil.rmtree(zipped)
    return root


def test_cases_are_those_of_nifti(tmp_path):
    one, two = (find_cases(folder(tmp_path / name, name == "dicom")) for name in ("nifti", "dicom"))
    assert two.warnings == ()
    for mine, theirs in zip(
        (*two.labelled, *two.unlabelled), (*one.labelled, *one.unlabelled), strict=True
    ):
        assert mine.id == theirs.id
        np.testing.assert_allclose(mine.affine, theirs.affine, atol=1e-5)
        np.testing.assert_array_equal(mine.read_image(), theirs.read_image())
        if theirs.read_label:
            np.testing.assert_array_equal(mine.read_label(), theirs.read_label())


def test_a_set_with_dicom_is_checked_trained_on_and_predicted(capsys, tmp_path):
    root, run, out = folder(tmp_path / "dicom", True), tmp_path / "run", tmp_path / "out"
    printed = []
    for arguments in (
        ("check", root),
        ("train", "folder", "--data", root, "--out", run, *SMALL),
        ("predict", run, root / "images", "--out", out / "all"),
        ("predict", run, root / "images" / "case0", "--out", out / "one"),
    ):
        code, text, err = crossview(capsys, *arguments)
        assert code == 0, err
        printed += [text, err]
    names = [f"case{number}.nii.gz" for number in range(5)]
    assert sorted(path.name for path in (out / "all").glob("*.nii.gz")) == names
    assert [path.name for path in (out / "one").glob("*.nii.gz")] == ["case0.nii.gz"]
    plain = folder(tmp_path / "nifti", False)
    crossview(capsys, "predict", run, plain / "images", "--out", out / "plain")
    for name in names:
        mine, theirs = (nib.load(out / kind / name) for kind in ("all", "plain"))
        np.testing.assert_array_equal(mine.get_fdata(), theirs.get_fdata())
        np.testing.assert_allclose(mine.affine, theirs.affine, atol=1e-5)
    bad = write_series(tmp_path / "bad", scan(3, SHAPE)[0])
    sorted(bad.iterdir())[4].unlink()
    code, _, err = crossview(capsys, "predict", run, bad, root / "images/case0", "--out", out / "b")
    assert code == 2
    assert "1 missing slice" in err
    assert [path.name for path in (out / "b").glob("*.nii.gz")] == ["case0.nii.gz"]
    seg = ("--format", "dicom-seg", "--entropy")
    inputs = root / "images" / "case0", root / "images" / "case1.zip"
    code, text, err = crossview(capsys, "predict", run, *inputs, "--out", tmp_path / "seg", *seg)
    assert code == 0, err
    assert text.split() == [str(tmp_path / "seg" / f"case{number}.dcm") for number in (0, 1)]
    assert (tmp_path / "seg" / "entropy" / "case1.nii.gz").exists()
    for number, source in enumerate(inputs):
        names, (label,) = read_seg(tmp_path / "seg" / f"case{number}.dcm", read_header(source))
        assert names == ("class 1", "class 2")
        np.testing.assert_array_equal(
            label, nib.load(out / "all" / f"case{number}.nii.gz").get_fdata()
        )
    inputs = root / "images" / "case2.nii.gz", root / "images" / "case0"
    code, _, err = crossview(capsys, "predict", run, *inputs, "--out", tmp_path / "no", *seg)
    assert code == 2
    assert "this format is written for DICOM scans only" in err
    assert "case2.nii.gz" in err
    assert not (tmp_path / "no").exists()
    written = [path for path in (*run.rglob("*"), *out.rglob("*")) if path.is_file()]
    assert len(written) > 15
    content = b"".join(path.read_bytes() for path in written) + "".join(printed).encode()
    assert not [value for value in PATIENT.values() if value.encode() in content]


@pytest.mark.parametrize("fault", ["several", "missing", "cut"])
def test_a_bad_series_stops_check_and_training(capsys, tmp_path, fault):
    root = folder(tmp_path / "dicom", True)
    series = root / "images" / "case3"
    if fault == "several":
        write_series(series, scan(9, SHAPE)[0], seed="9", name=lambda number: f"x{number}")
    elif fault == "missing":
        sorted(series.iterdir())[4].unlink()
    else:
        first = sorted(series.iterdir())[0]
        first.write_bytes(first.read_bytes()[:-100])
    what = {
        "several": "the folder holds 2 DICOM series",
        "missing": "a DICOM series has 1 missing slice",
        "cut": "a DICOM file is cut off",
    }[fault]
    run = tmp_path / "run"
    train = ("train", "folder", "--data", root, "--out", run, *SMALL)
    for arguments in (("check", root), train):
        code, text, err = crossview(capsys, *arguments)
        assert code == 2
        assert what in " ".join((text + err).split())
    assert not run.exists()


@pytest.mark.parametrize("by", ["uid", "file"])
def test_series_txt_chooses_one_of_several_series(capsys, tmp_path, by):
    root = folder(tmp_path / "dicom", True)
    before = next(case for case in find_cases(root).unlabelled if case.id == "case3").read_image()
    series = root / "images" / "case3"
    write_series(series, scan(9, SHAPE)[0], seed="9", name=lambda number: f"x{number}")
    code, text, err = crossview(capsys, "check", root)
    assert code == 2
    assert "into series.txt there" in " ".join((text + err).split())
    other = sorted(path.name for path in series.glob("*.dcm"))[3]
    (series / "series.txt").write_text({"uid": f"{uid('series', '3')}\n", "file": other}[by])
    code, text, err = crossview(capsys, "check", root)
    assert code == 0, err
    chosen = next(case for case in find_cases(root).unlabelled if case.id == "case3")
    np.testing.assert_array_equal(chosen.read_image(), before)
    (series / "series.txt").write_text("nothing")
    with pytest.raises(UserError, match="names no series of the scan"):
        chosen.read_image()


def test_series_txt_in_a_zip_file_chooses_too(tmp_path):
    kept = write_series(tmp_path / "kept", scan(3, SHAPE)[0], seed="3")
    folder = tmp_path / "both" / "ann"
    write_series(folder, scan(3, SHAPE)[0], seed="3")
    write_series(folder, scan(9, SHAPE)[0], seed="9", name=lambda number: f"x{number}")

    def zipped():
        return Path(shutil.make_archive(str(tmp_path / "ann"), "zip", folder.parent))

    with pytest.raises(UserError, match=r"the zip file holds 2 DICOM series(.|\n)*ann/x0"):
        read(zipped())
    for text in ("ann/x0", uid("series", "9")):
        (folder / "series.txt").write_text(text)
        np.testing.assert_array_equal(
            read(zipped()).image[0],
            read(write_series(tmp_path / "other", scan(9, SHAPE)[0], seed="9")).image[0],
        )
    (folder / "series.txt").write_text(uid("series", "3"))
    np.testing.assert_array_equal(read(zipped()).image, read(kept).image)
    (folder / "series.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match=r"series.txt can't be read"):
        read(zipped())
    for times, said in (
        (3, "series.txt: a DICOM file is cut off, damaged"),
        (1000, "can't be read"),
    ):
        (folder / "series.txt").write_text("damaged" * times)
        path = zipped()
        with ZipFile(path, "w") as archive:  # stored, so that its bytes can be found
            for file in sorted(folder.iterdir()):
                archive.write(file, f"ann/{file.name}")
        path.write_bytes(path.read_bytes().replace(b"damaged" * times, b"DAMAGED" * times))
        with pytest.raises(UserError, match=said):
            read(path)


def test_a_folder_of_slices_is_no_folder_of_scans(capsys, tmp_path):
    root = folder(tmp_path / "dicom", True)
    for number, path in enumerate(sorted((root / "images" / "case3").iterdir())[:2]):
        shutil.copy(path, root / "images" / f"slice{number}.dcm")
    code, text, err = crossview(capsys, "check", root)
    assert code == 2
    assert "single slice of a DICOM series" in " ".join((text + err).split())


def test_a_zip_file_of_other_things_is_skipped(tmp_path):
    root = folder(tmp_path / "dicom", True)
    shutil.make_archive(str(root / "images" / "backup"), "zip", root / "labels")
    cases = find_cases(root)
    assert "backup" not in {case.id for case in (*cases.labelled, *cases.unlabelled)}
    assert "1 entry is not a scan and is skipped" in str(cases.warnings[0])


def test_the_extra_is_named_once_for_a_folder(capsys, tmp_path, monkeypatch):
    from crossview.data.io import extras

    root = folder(tmp_path / "dicom", True)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    code, text, err = crossview(capsys, "check", root)
    assert code == 2
    assert (text + err).count('pip install "crossview[dicom]"') == 1
    assert uid("series", "0") not in text + err


def with_segs(root: Path) -> Path:
    """Return a folder whose first two labels are DICOM SEG, their segments in other orders."""
    folder(root, True)
    names = {"background": 0, "liver": 1, "tumour": 2}
    (root / "dataset.json").write_text(json.dumps({"labels": names}))
    colours = {1: (255, 0, 0), 2: (0, 255, 0)}
    for number, order in ((0, {2: "tumour", 1: "liver"}), (1, {1: "liver", 2: "tumour"})):
        (root / "labels" / f"case{number}.nii.gz").unlink()
        source = root / "images" / ("case1.zip" if number else "case0")
        path = root / "labels" / f"case{number}.dcm"
        write_seg(path, scan(number, SHAPE)[1], read_header(source), order, colours)
    return root


def test_segments_are_classes_by_their_names(tmp_path):
    cases = find_cases(with_segs(tmp_path / "segs")).labelled
    plain = find_cases(folder(tmp_path / "plain", True)).labelled
    for mine, theirs in zip(cases, plain, strict=True):
        np.testing.assert_array_equal(mine.read_label(), theirs.read_label())


def test_a_seg_in_another_space_or_of_another_name_is_an_error_of_check(capsys, tmp_path):
    root = with_segs(tmp_path / "segs")
    (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))
    write_series(tmp_path / "other", scan(0, SHAPE)[0], seed="other")
    source = read_header(tmp_path / "other")
    names, colours = {1: "liver"}, {1: (255, 0, 0)}
    write_seg(root / "labels" / "case0.dcm", scan(0, SHAPE)[1], source, names, colours)
    code, text, err = crossview(capsys, "check", root)
    assert code == 2
    told = " ".join((text + err).split())
    assert "scan and label are in different frames of reference" in told
    assert "a segment's name is no class" in told
    assert "tumour" in told
