"""Formats by suffix, and files grouped into scans."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers.made_folder import write_nifti

from crossview.core.errors import UserError
from crossview.data.io import FORMATS, ScanFiles, split_name
from crossview.data.io.channels import by_channel, missing_channels


@pytest.mark.parametrize(
    ("file", "name", "suffix"),
    [
        ("a.nii.gz", "a", ".nii.gz"),
        ("A.NII", "A", ".nii"),
        ("a.b.png", "a.b", ".png"),
        ("a.gz", "a.gz", ""),
        (".png", "", ".png"),
    ],
)
def test_names_are_split_at_the_whole_suffix(file, name, suffix):
    assert split_name(file) == (name, suffix)


def test_a_scan_keeps_the_spelling_of_its_suffix_and_knows_its_format():
    scan = ScanFiles("a", (Path("a_0000.NII.GZ"), Path("a_0001.NII.GZ")))
    assert (scan.suffix, scan.format, scan.numbered) == (".NII.GZ", FORMATS[0], True)


@pytest.mark.parametrize("file", ["a.Nii.gz", "a.nii.GZ", "a.nii.gz"])
def test_mixed_capitals_of_a_suffix_are_not_kept(file):
    scan = ScanFiles("a", (Path(file),))
    assert (scan.suffix, scan.format, scan.numbered) == (".nii.gz", FORMATS[0], False)


def test_channels_are_grouped_by_folder_case_and_suffix():
    names = (
        "x/a_0001.nii",
        "x/a_0000.nii",
        "x/a_0000.png",
        "y/a_0000.nii",
        "x/b.nii",
        "x/c_01.nii",
    )
    groups, others = by_channel(map(Path, names))
    assert {key: sorted(of_scan) for key, of_scan in groups.items()} == {
        (Path("x"), "a", ".nii"): [0, 1],
        (Path("x"), "a", ".png"): [0],
        (Path("y"), "a", ".nii"): [0],
    }
    assert others == [Path("x/b.nii"), Path("x/c_01.nii")]


def test_a_missing_channel_is_named():
    assert missing_channels({1: "", 0: ""}, 2, "a") == []
    (problem,) = missing_channels([0, 2], 3, "a")
    assert (problem.found, problem.expected) == ("_0000, _0002", "_0000, _0001, _0002")


def test_a_scan_of_another_number_of_channels_is_refused(tmp_path):
    Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save(tmp_path / "a.png")
    scan = ScanFiles("a", (tmp_path / "a.png",))
    assert scan.read(3).image.shape == (3, 4, 5)
    with pytest.raises(UserError, match="wrong number of channels") as error:
        scan.read(1)
    assert "convert images to grey" in error.value.problems[0].fix


def test_files_of_more_channels_than_dataset_json_names_are_told_so(tmp_path):
    files = [
        write_nifti(tmp_path / f"a_000{channel}.nii", np.ones((3, 4, 5))) for channel in (0, 1)
    ]
    with pytest.raises(UserError, match="wrong number of channels") as error:
        ScanFiles("a", tuple(files)).read(1)
    assert "dataset.json" in error.value.problems[0].fix
    assert "convert images" not in error.value.problems[0].fix
