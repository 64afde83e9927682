"""Labels by other programs than the scan's: one grid, stored in another order or form."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from tests.helpers.made_folder import SHAPE, scan, write_nifti
from tests.helpers.nifti import FORM, place_by_itk, read_label, stored

from crossview.core.errors import UserError
from crossview.data.io import NIFTI

IMAGE, LABEL = scan(1)

STORAGES = [
    np.array([[axis, flip] for axis, flip in zip(axes, flips, strict=True)])
    for axes in permutations(range(3))
    for flips in product((1, -1), repeat=3)
]


def turned(image, storage):
    """Return an image's values and place, stored with other axes by nibabel."""
    found = nib.Nifti1Image(image, FORM).as_reoriented(storage)
    return np.asarray(found.dataobj), found.affine


@pytest.mark.parametrize("storage", STORAGES, ids=[str(each.T.tolist()) for each in STORAGES])
def test_a_label_on_the_same_voxels_is_used_however_it_is_stored(tmp_path, storage):
    one = write_nifti(tmp_path / "a.nii.gz", IMAGE, FORM)
    two = write_nifti(tmp_path / "l.nii.gz", *turned(LABEL, storage))
    np.testing.assert_array_equal(read_label(two, one), LABEL)
    second = write_nifti(tmp_path / "b.nii.gz", *turned(IMAGE + 7, storage))
    np.testing.assert_array_equal(NIFTI.read([one, second], 2).image, [IMAGE, IMAGE + 7])


def test_a_label_by_simpleitk_lies_on_a_scan_by_dcm2niix(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    one = stored(tmp_path / "a.nii", IMAGE, FORM, FORM)  # to the left, front and head
    lps = sitk.DICOMOrient(sitk.ReadImage(str(one)), "LPS")
    mask = sitk.Cast(lps > 120, sitk.sitkUInt8)
    sitk.WriteImage(mask, str(tmp_path / "l.nii.gz"))
    assert not np.array_equal(np.asarray(nib.load(tmp_path / "l.nii.gz").dataobj), IMAGE > 120)
    np.testing.assert_array_equal(read_label(tmp_path / "l.nii.gz", one), IMAGE > 120)


def moved(by):
    affine = FORM.copy()
    affine[:3, 3] += by
    return affine


@pytest.mark.parametrize("storage", STORAGES[1::5])
@pytest.mark.parametrize("by", [(0.1, 0, 0), (0, 3, 0), (0, 0, 2)])
def test_a_grid_beside_the_scan_s_is_refused_in_every_storage(tmp_path, storage, by):
    one = write_nifti(tmp_path / "a.nii.gz", IMAGE, moved(by))
    two = write_nifti(tmp_path / "l.nii.gz", *turned(LABEL, storage))
    with pytest.raises(UserError, match="not aligned in space") as error:
        read_label(two, one)
    assert f"corners up to {np.linalg.norm(by):.3g} mm apart\n" in str(error.value)


@pytest.mark.parametrize("code", [2, 3, 4])
def test_a_label_that_follows_the_scan_s_other_form_is_used(tmp_path, code):
    one = stored(tmp_path / "a.nii", IMAGE, sform=moved((40, 0, 0)), qform=FORM, codes=(code, 1))
    np.testing.assert_allclose(place_by_itk(one), FORM)  # not the sform, as nibabel
    for name, affine in (("by_nibabel", moved((40, 0, 0))), ("by_itk", FORM)):
        two = write_nifti(tmp_path / f"{name}.nii.gz", LABEL, affine)
        np.testing.assert_array_equal(read_label(two, one), LABEL)


def test_the_refusal_names_forms_that_differ(tmp_path):
    one = stored(tmp_path / "a.nii", IMAGE, sform=moved((40, 0, 0)), qform=FORM, codes=(2, 1))
    two = write_nifti(tmp_path / "l.nii.gz", LABEL, moved((0, 9, 0)))
    with pytest.raises(UserError) as error:
        read_label(two, one)
    assert "in a.nii sform and qform are up to 40 mm apart, and neither fits" in str(error.value)


def test_a_scan_without_a_place_takes_a_label_of_either_reader(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    one = stored(tmp_path / "a.nii", IMAGE)
    assert [int(nib.load(one).header[f"{form}_code"]) for form in ("sform", "qform")] == [0, 0]
    mask = sitk.Cast(sitk.ReadImage(str(one)) > 120, sitk.sitkUInt8)
    sitk.WriteImage(mask, str(tmp_path / "itk.nii.gz"))
    write_nifti(tmp_path / "nib.nii.gz", (IMAGE > 120).astype(np.uint8), nib.load(one).affine)
    for name in ("itk", "nib"):
        found = read_label(tmp_path / f"{name}.nii.gz", one)
        np.testing.assert_array_equal(found, IMAGE > 120)
    elsewhere = write_nifti(tmp_path / "elsewhere.nii.gz", LABEL, moved((50, 0, 0)))
    with pytest.raises(UserError, match="stores no place in space"):
        read_label(elsewhere, one)


def test_a_label_in_another_unit_lies_on_its_scan(tmp_path):
    micrometres = FORM * [[1000], [1000], [1000], [1]]
    one = stored(tmp_path / "a.nii", IMAGE, sform=micrometres, xyzt_units=3)
    two = stored(tmp_path / "l.nii", LABEL, sform=FORM, xyzt_units=2)
    np.testing.assert_array_equal(read_label(two, one), LABEL)
    by_nibabel = write_nifti(tmp_path / "n.nii", LABEL, nib.load(one).affine)
    assert nib.load(by_nibabel).header.get_xyzt_units()[0] == "unknown"
    np.testing.assert_array_equal(read_label(by_nibabel, one), LABEL)


@pytest.mark.parametrize("classes", [17, 30, 117, 255])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8])
def test_float_labels_of_many_classes_in_a_scaled_header_are_exact(tmp_path, classes, dtype):
    one = write_nifti(tmp_path / "a.nii.gz", IMAGE)
    label = np.linspace(0, classes, LABEL.size).round().reshape(SHAPE)
    image = nib.Nifti1Image(label, nib.load(one).affine)
    image.set_data_dtype(dtype)
    nib.save(image, tmp_path / "l.nii.gz")
    read = nib.load(tmp_path / "l.nii.gz")
    if read.dataobj.slope >= 0.5:  # 255 classes in 256 steps are whole numbers as they are
        assert read.dataobj.slope == 1
    np.testing.assert_array_equal(read_label(tmp_path / "l.nii.gz", one), label)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8])
@pytest.mark.parametrize("classes", [2, 17, 117])
def test_an_interpolated_label_in_a_scaled_header_is_refused(tmp_path, dtype, classes):
    one = write_nifti(tmp_path / "a.nii.gz", IMAGE)
    label = np.linspace(0, classes, LABEL.size).reshape(SHAPE)
    image = nib.Nifti1Image(label, nib.load(one).affine)
    image.set_data_dtype(dtype)
    nib.save(image, tmp_path / "l.nii.gz")
    with pytest.raises(UserError, match="voxels with fractions"):
        read_label(tmp_path / "l.nii.gz", one)
