"""NIfTI as real programs write it: units, forms, quaternions, vectors and suffixes.

ITK (by SimpleITK) is the oracle for the place of a scan; where SimpleITK is absent, values worked
out by hand remain.
"""

import nibabel as nib
import numpy as np
import pytest
from tests.helpers.made_folder import SHAPE, scan
from tests.helpers.nifti import FORM, place_by_itk, read_label, stored

from crossview.core.errors import UserError
from crossview.data.io import FORMATS, NIFTI, split_name

IMAGE, _ = scan(1)


@pytest.mark.parametrize(
    ("code", "millimetres"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (10, 1), (3 + 8, 0.001)]
)
@pytest.mark.parametrize("forms", [{"sform": FORM}, {"qform": FORM}])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_place_is_in_millimetres_whatever_the_unit_of_the_header(
    tmp_path, code, millimetres, forms, kind
):
    path = stored(tmp_path / "a.nii", kind=kind, xyzt_units=code, **forms)
    found = NIFTI.read_header(path).affine
    np.testing.assert_allclose(found[:3], FORM[:3] * millimetres, rtol=1e-6)
    if kind is nib.Nifti1Image:  # ITK reads no NIfTI-2
        np.testing.assert_allclose(found, place_by_itk(path), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "quaternion", [(0, 0, 1 + 1e-6), (0, 1.0001, 0), (0.6, 0.8001, 0.001), (0.6, 0.8, 0.7)]
)
@pytest.mark.parametrize("qfac", [1, -1, 0, -2])
def test_a_quaternion_rounded_above_1_is_read_as_itk_reads_it(tmp_path, quaternion, qfac):
    b, c, d = quaternion
    sides = [qfac, 1, 2, 3, 1, 1, 1, 1]
    path = stored(
        tmp_path / "a.nii", qform=np.eye(4), quatern_b=b, quatern_c=c, quatern_d=d, pixdim=sides
    )
    header = NIFTI.read_header(path)
    # A turn by 180 degrees about the axis v: 2 v v' / |v|^2 - 1.
    axis = np.array(quaternion) / np.linalg.norm(quaternion)
    turn = 2 * np.outer(axis, axis) - np.eye(3)
    np.testing.assert_allclose(
        header.affine[:3, :3], turn * (1, 2, -3 if qfac < 0 else 3), atol=1e-5
    )
    np.testing.assert_allclose(header.affine, place_by_itk(path), atol=1e-5)
    out = tmp_path / "out.nii"
    NIFTI.write(out, {"label": np.ones(SHAPE, np.uint8)}, header)
    np.testing.assert_allclose(nib.load(out).affine, header.affine, atol=1e-5)
    np.testing.assert_allclose(place_by_itk(out), header.affine, atol=1e-5)


def test_the_sform_is_used_where_its_code_is_above_0_and_the_other_form_is_known(tmp_path):
    other = FORM + np.array([[0.0], [0], [0.7], [0]]) * [0, 0, 0, 1]
    header = NIFTI.read_header(stored(tmp_path / "a.nii", sform=FORM, qform=other, codes=(2, 1)))
    np.testing.assert_allclose(header.affine, FORM)
    np.testing.assert_allclose(header.other_affines["qform"], other, atol=1e-6)
    only = NIFTI.read_header(stored(tmp_path / "b.nii", sform=FORM, qform=other, codes=(0, 1)))
    np.testing.assert_allclose(only.affine, other, atol=1e-6)
    assert not only.other_affines


@pytest.mark.parametrize("wrong", [0, np.nan])
def test_an_sform_that_is_no_geometry_leaves_the_place_to_the_qform(tmp_path, wrong):
    rows = dict.fromkeys(("srow_x", "srow_y", "srow_z"), wrong)
    path = stored(tmp_path / "a.nii", sform=FORM, qform=FORM, **rows)
    header = NIFTI.read_header(path)
    np.testing.assert_allclose(header.affine, FORM, atol=1e-6)
    assert not header.other_affines
    with pytest.raises(UserError, match="invalid geometry"):
        assert NIFTI.read_header(stored(tmp_path / "b.nii", sform=FORM, **rows))
    path = stored(tmp_path / "c.nii", sform=FORM, qform=FORM, pixdim=[1, 0, 0.5, 2, 1, 1, 1, 1])
    np.testing.assert_allclose(NIFTI.read_header(path).affine, FORM)  # the sform has its own sides


def test_an_intercept_that_is_no_number_is_none(tmp_path):
    path = stored(tmp_path / "a.nii", sform=FORM, scl_slope=2, scl_inter=np.nan)
    np.testing.assert_array_equal(NIFTI.read([path], 1).image[0], 2.0 * IMAGE)


def test_a_2d_image_is_refused_with_what_to_do(tmp_path):
    path = stored(tmp_path / "a.nii", IMAGE[:, :, 0])
    with pytest.raises(UserError, match=r"found: +\(7, 6\)") as error:
        NIFTI.read([path], 1)
    assert "PNG or TIFF, or as a volume of one slice (X, Y, 1)" in error.value.problems[0].fix
    path = stored(tmp_path / "b.nii", IMAGE[:, :, :1], sform=FORM)
    assert NIFTI.read([path], 1).image.shape == (1, 7, 6, 1)


@pytest.mark.parametrize("channels", [2, 3])
def test_a_vector_image_has_its_channels_on_the_fifth_axis(tmp_path, channels):
    image = np.stack([IMAGE + channel for channel in range(channels)], -1)
    path = stored(tmp_path / "a.nii", image[:, :, :, None], sform=FORM, intent_code=1007)
    assert NIFTI.read_header(path).channels == channels
    read = NIFTI.read([path], channels)
    np.testing.assert_array_equal(read.image, np.moveaxis(image, -1, 0))
    with pytest.raises(UserError, match=r"found: +\(7, 6, 5, 1, [23]\)"):
        NIFTI.read([path], 1)


def test_a_vector_image_of_simpleitk_is_read_and_its_prediction_lies_there(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    parts = []
    for channel in range(2):
        part = sitk.GetImageFromArray((IMAGE + channel).T)
        part.SetSpacing((1.0, 1.5, 2.0))
        part.SetOrigin((3, 4, 5))
        parts.append(part)
    path = tmp_path / "a.nii.gz"
    sitk.WriteImage(sitk.Compose(*parts), str(path))
    assert nib.load(path).shape == (*SHAPE, 1, 2)
    read = NIFTI.read([path], 2)
    np.testing.assert_array_equal(read.image, np.stack([IMAGE, IMAGE + 1]))
    NIFTI.write(tmp_path / "out.nii.gz", {"label": (IMAGE > 100).astype(np.uint8)}, read.header)
    label = sitk.ReadImage(str(tmp_path / "out.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(label).T, IMAGE > 100)
    np.testing.assert_allclose(place_by_itk(tmp_path / "out.nii.gz"), place_by_itk(path))


@pytest.mark.parametrize("suffix", [".Nii.gz", ".nii.Gz", ".Nii", ".NII.gz"])
def test_any_capitals_of_the_suffix_are_read(tmp_path, suffix):
    path = tmp_path / f"c{suffix}"
    stored(tmp_path / "whole.nii", sform=FORM)
    nib.save(nib.load(tmp_path / "whole.nii"), tmp_path / "whole.nii.gz")
    path.write_bytes((tmp_path / f"whole{suffix.lower()}").read_bytes())
    assert split_name(path.name) == ("c", suffix.lower())
    read = FORMATS[0].read([path], 1)
    np.testing.assert_array_equal(read.image[0], IMAGE)
    NIFTI.write(tmp_path / f"out{suffix}", {"label": np.ones(SHAPE, np.uint8)}, read.header)
    assert NIFTI.read([tmp_path / f"out{suffix}"], 1).image.all()


def test_a_header_of_two_files_is_no_scan(tmp_path):
    path = stored(tmp_path / "a.nii", sform=FORM, magic=b"ni1")
    with pytest.raises(UserError, match="two files"):
        NIFTI.read([path], 1)


@pytest.mark.parametrize(
    "header",
    [
        {"sform": FORM, "xyzt_units": 3},
        {"qform": FORM, "xyzt_units": 1},
        {"sform": FORM, "qform": np.diag([-0.5, 0.5, 2, 1]), "codes": (2, 1)},
        {"sform": FORM, "qform": np.diag([-0.5, 0.5, 2, 1]), "codes": (1, 1)},
        {},
    ],
    ids=["micron", "metre", "qform for ITK", "sform for both", "no form"],
)
def test_a_prediction_lies_on_its_scan_for_every_reader(tmp_path, header):
    sitk = pytest.importorskip("SimpleITK")
    path, out = stored(tmp_path / "a.nii", **header), tmp_path / "out.nii"
    label = (IMAGE > 100).astype(np.uint8)
    NIFTI.write(out, {"label": label}, NIFTI.read_header(path))
    np.testing.assert_array_equal(nib.load(out).affine, nib.load(path).affine)
    np.testing.assert_array_equal(np.asarray(nib.load(out).dataobj), label)
    np.testing.assert_array_equal(place_by_itk(out), place_by_itk(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(out))).T, label)
    np.testing.assert_array_equal(read_label(out, path), label)
    assert nib.load(out).header["xyzt_units"] == nib.load(path).header["xyzt_units"]
