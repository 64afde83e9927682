"""A folder of scans and labels in several formats is the same set as in one."""

import nibabel as nib
import numpy as np
import pytest
from tests.helpers.made_folder import make_folder, problems_of

from crossview.core.errors import UserError
from crossview.data.io import BY_SUFFIX, extras
from crossview.data.sources.folder_cases import find_cases, survey


def convert(path, suffix):
    """Save a NIfTI file in another format, under its name."""
    form, new = BY_SUFFIX[suffix], path.with_name(path.name.split(".")[0] + suffix)
    image = nib.load(path)
    array = np.asarray(image.dataobj)
    kind = np.uint8 if array.max() < 3 else np.float32
    form.write(new, {"label": array.astype(kind)}, BY_SUFFIX[".nii.gz"].read_header(path))
    path.unlink()
    return new


def test_scans_and_labels_of_several_formats_are_the_cases_of_nifti(tmp_path):
    plain, mixed = (find_cases(make_folder(tmp_path / name)) for name in ("plain", "mixed"))
    root = tmp_path / "mixed"
    convert(root / "images/case00.nii.gz", ".nrrd")
    convert(root / "labels/case01.nii.gz", ".mha")
    convert(root / "labels/case02.nii.gz", ".nrrd")
    convert(root / "images/case03.nii.gz", ".mha")
    mixed = find_cases(root)
    for one, two in zip(
        (*plain.labelled, *plain.unlabelled), (*mixed.labelled, *mixed.unlabelled), strict=True
    ):
        assert (one.id, one.spacing) == (two.id, two.spacing)
        np.testing.assert_array_equal(one.affine, two.affine)
        np.testing.assert_array_equal(one.read_image(), two.read_image())
        if one.read_label and two.read_label:
            np.testing.assert_array_equal(one.read_label(), two.read_label())
    assert (mixed.unit, mixed.warnings) == ("mm", ())


def test_voxels_beside_their_header_are_no_odd_files(tmp_path):
    root = make_folder(tmp_path)
    new = convert(root / "images/case00.nii.gz", ".mha")
    header, voxels = new.read_bytes().split(b"= LOCAL\n")
    new.with_suffix(".mhd").write_bytes(header + b"= case00.zraw\n")
    new.with_suffix(".zraw").write_bytes(voxels)
    new.unlink()
    cases = find_cases(root)
    assert cases.warnings == ()
    assert cases.labelled[0].read_image().shape == (1, 7, 6, 5)
    new.with_suffix(".mhd").unlink()
    assert "case00.zraw" in str(survey(root)[0].warnings)


def test_a_missing_library_is_told_once_for_the_folder(tmp_path, monkeypatch):
    root = make_folder(tmp_path)
    for name in ("images/case00", "images/case04", "labels/case01"):
        convert(root / f"{name}.nii.gz", ".nrrd")
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(UserError) as error:
        find_cases(root)
    text = problems_of(error)
    assert text.count("not installed") == 1
    assert 'pip install "crossview[formats]"' in text
