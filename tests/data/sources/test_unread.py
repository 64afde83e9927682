"""Scans in formats that are not read, in subfolders, or that may be channels: what is said."""

import numpy as np
import pytest
from tests.helpers.made_folder import make_folder, problems_of, scan, write_nifti, write_picture

from crossview.core.errors import UserError
from crossview.data.sources.folder_cases import find_cases


def told(root) -> str:
    with pytest.raises(UserError) as error:
        find_cases(root)
    return problems_of(error)


def warned(root) -> str:
    return "\n".join(map(str, find_cases(root).warnings))


def masks(root, names) -> None:
    for name in names:
        write_picture(root / "labels" / f"{name}.png", np.eye(6, dtype=np.uint8))


@pytest.mark.parametrize("suffix", [".jpg", ".BMP", ".mgz", ".mnc", ".ima", ".hdr", ".img.gz"])
def test_scans_in_other_formats_are_to_be_converted(tmp_path, suffix):
    (tmp_path / "images").mkdir()
    for name in ("s0", "s1"):
        (tmp_path / "images" / f"{name}{suffix}").write_bytes(b"x")
    masks(tmp_path, ["s0", "s1"])
    text = told(tmp_path)
    assert "2 scans are in a format that crossview does not read" in text
    assert f"s0{suffix}, s1{suffix}" in text
    assert "convert volumes to NIfTI, and 2D images to PNG or TIFF" in text
    assert "have no scan" not in text
    assert text.count("found:") == 1


def test_channels_in_other_formats_are_those_of_a_label(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/s0_0000.mgz").write_bytes(b"x")
    masks(tmp_path, ["s0"])
    assert "have no scan" not in told(tmp_path)


def test_a_picture_next_to_scans_is_skipped_with_a_warning(tmp_path):
    root = make_folder(tmp_path)
    (root / "images/overview.jpg").write_bytes(b"x")
    text = warned(root)
    assert "1 entry is not a scan and is skipped" in text
    assert "overview.jpg" in text
    assert "convert" in text


def test_one_scan_in_another_format_next_to_its_label_is_an_error(tmp_path):
    root = make_folder(tmp_path)
    (root / "images/case01.nii.gz").rename(root / "images/case01.mgz")
    text = told(root)
    assert "1 scan is in a format" in text
    assert "has no scan" not in text


@pytest.mark.parametrize("name", ["case03.mgz", "case03.seg.mnc"])
def test_a_label_in_another_format_does_not_make_its_scan_unlabelled(tmp_path, name):
    root = make_folder(tmp_path)
    (root / "labels" / name).write_bytes(b"x")
    text = told(root)
    assert "1 label is in a format that crossview does not read" in text
    assert name in text


def test_scans_in_subfolders_are_shown_with_a_way_out(tmp_path):
    for patient in ("ann", "bert"):
        write_nifti(tmp_path / "images" / patient / "day1" / "t1.nii.gz", scan(0)[0])
    write_nifti(tmp_path / "labels/ann.nii.gz", scan(0)[1])
    text = told(tmp_path)
    assert "images/ holds its files in subfolders, which are not read" in text
    assert "2 subfolders, such as ann/ with ann/day1/t1.nii.gz" in text
    assert "ann_day1_t1.nii.gz" in text
    assert "have no scan" not in text
    assert "has no scan" not in text


def test_labels_in_subfolders_do_not_make_all_scans_unlabelled(tmp_path):
    root = make_folder(tmp_path, labelled=0, unlabelled=3)
    write_nifti(root / "labels/ann/case00.nii.gz", scan(0)[1])
    assert "labels/ holds its files in subfolders" in told(root)


def test_a_subfolder_next_to_scans_is_a_warning(tmp_path):
    root = make_folder(tmp_path)
    write_nifti(root / "images/old/case00.nii.gz", scan(0)[0])
    assert "move or link each file to images/" in warned(root)


def channels(root, cases=("x", "y"), files=2, suffix="_0000"):
    for number, case in enumerate(cases):
        image, label = scan(number)
        for channel in range(files):
            write_nifti(root / "images" / f"{case}_{channel:04d}.nii.gz", image)
        write_nifti(root / "labels" / f"{case}{suffix}.nii.gz", label)
    return root


def test_labels_named_like_a_first_channel_are_doubted(tmp_path):
    text = warned(channels(tmp_path))
    assert "the labels are named like the first channel of each scan" in text
    assert "x_0000 and x_0001 are read as 2 scans" in text
    assert "if these are channels of one scan: x" in text


def test_labels_of_channels_are_not_doubted_where_the_names_are_clear(tmp_path):
    assert warned(channels(tmp_path / "channels", suffix="")) == ""
    # One series of numbered scans, of which the first have labels.
    root = make_folder(tmp_path / "series", labelled=0, unlabelled=0)
    for number in range(4):
        write_nifti(root / "images" / f"p_{number:04d}.nii.gz", scan(number)[0])
    write_nifti(root / "labels/p_0000.nii.gz", scan(0)[1])
    assert warned(root) == ""
    stated = channels(tmp_path / "stated")
    (stated / "dataset.json").write_text('{"channel_names": {"0": "MRI"}}')
    assert warned(stated) == ""
