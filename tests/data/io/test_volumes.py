"""One scan as NIfTI, NRRD and MetaImage: the same voxels at the same place, read and written.

SimpleITK writes and reads the files apart from this package; nibabel does for NIfTI.
"""

import re

import nibabel as nib
import numpy as np
import pytest
from tests.helpers.made_folder import scan, write_nifti
from tests.helpers.nifti import place_by_itk, read_label

from crossview.core.errors import UserError
from crossview.data.io import BY_SUFFIX, ScanFiles, seg_nrrd, split_name

sitk = pytest.importorskip("SimpleITK")

IMAGE, LABEL = scan(1)

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")


def turn(axis, degrees):
    one, two = (index for index in range(3) if index != axis)
    turned, (cos, sin) = np.eye(3), (np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees)))
    turned[one, one], turned[one, two], turned[two, one], turned[two, two] = cos, -sin, sin, cos
    return turned


DIRECTIONS = {
    "straight": np.eye(3),
    "oblique": turn(0, 20) @ turn(1, -35) @ turn(2, 50),
    "left-handed": turn(0, 10) @ np.diag([1, 1, -1]),
    "permuted": np.eye(3)[[2, 0, 1]] @ np.diag([-1, 1, -1]),
}


def by_itk(path, array, direction, compressed=False):
    """Write an array (X, Y, Z) or (C, X, Y, Z) with SimpleITK, and return the path."""
    image = sitk.GetImageFromArray(array.T, isVector=array.ndim == 4)
    image.SetSpacing((0.7, 1.5, 3.25))
    image.SetOrigin((-12.5, 33.125, 7.75))
    image.SetDirection(direction.ravel())
    sitk.WriteImage(image, str(path), compressed)
    return path


def found(path):
    """Return voxels (X, Y, Z) and affine of a file as SimpleITK and, for NIfTI, nibabel read it."""
    array, affine = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T, place_by_itk(path)
    if ".nii" in path.name:
        image = nib.load(path)
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), array)
        np.testing.assert_allclose(image.affine, affine, atol=1e-5)
    return array, affine


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_scan_by_itk_is_read_voxel_by_voxel_and_mm_by_mm(tmp_path, name, suffix):
    path = by_itk(tmp_path / f"a{suffix}", IMAGE, DIRECTIONS[name])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = DIRECTIONS[name] * (0.7, 1.5, 3.25), (-12.5, 33.125, 7.75)
    read = BY_SUFFIX[suffix].read([path], 1)
    np.testing.assert_array_equal(read.image[0], IMAGE)
    assert (read.image.dtype, read.header.shape, read.header.channels) == (
        np.float32,
        IMAGE.shape,
        1,
    )
    limit = 1e-5 if ".nii" in suffix else 1e-12  # NIfTI has numbers of 32 bits
    np.testing.assert_allclose(read.header.affine, np.diag([-1, -1, 1, 1]) @ affine, atol=limit)
    np.testing.assert_allclose(read.header.affine, place_by_itk(path), atol=limit)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "float32", "float64"]
)
def test_every_plain_type_is_read(tmp_path, suffix, compressed, dtype):
    values = (IMAGE % 100).astype(dtype)
    path = by_itk(tmp_path / f"a{suffix}", values, np.eye(3), compressed)
    np.testing.assert_array_equal(BY_SUFFIX[suffix].read([path], 1).image[0], values)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_channels_of_one_file_and_of_several_are_the_same(tmp_path, suffix):
    two = np.stack([IMAGE, 2 * IMAGE])
    together = by_itk(tmp_path / f"a{suffix}", two, DIRECTIONS["oblique"])
    alone = [
        by_itk(tmp_path / f"b_000{number}{suffix}", two[number], DIRECTIONS["oblique"])
        for number in (0, 1)
    ]
    form = BY_SUFFIX[suffix]
    assert form.read_header(together).channels == 2
    np.testing.assert_array_equal(form.read([together], 2).image, two)
    np.testing.assert_array_equal(form.read(alone, 2).image, two)
    with pytest.raises(UserError, match="unexpected shape"):
        form.read([together], 1)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("of_scan", [".nii", ".nrrd", ".mha"])
def test_predictions_lie_on_their_scan_for_itk_and_nibabel(tmp_path, name, suffix, of_scan):
    source = by_itk(tmp_path / f"a{of_scan}", IMAGE, DIRECTIONS[name])
    header, write = BY_SUFFIX[of_scan].read_header(source), BY_SUFFIX[suffix].write
    path = tmp_path / f"out{suffix}"
    write(path, {"label": LABEL}, header)
    array, affine = found(path)
    np.testing.assert_array_equal(array, LABEL)
    np.testing.assert_allclose(affine, place_by_itk(source), atol=2e-5)
    np.testing.assert_array_equal(read_label(path, source), LABEL)
    shares = np.random.default_rng(0).random((3, *IMAGE.shape), np.float32)
    write(tmp_path / f"p{suffix}", {"probability": shares}, header)
    again = BY_SUFFIX[suffix].read([tmp_path / f"p{suffix}"], 3)
    np.testing.assert_array_equal(again.image, shares)
    if suffix != ".nii.gz":
        image = sitk.ReadImage(str(tmp_path / f"p{suffix}"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), shares.transpose(3, 2, 1, 0))


def test_a_label_of_another_format_and_storage_is_turned_to_its_scan(tmp_path):
    source = by_itk(tmp_path / "a.nrrd", IMAGE, DIRECTIONS["oblique"])
    affine = place_by_itk(source)
    flip = np.diag([1.0, -1, 1, 1])
    flip[1, 3] = LABEL.shape[1] - 1
    turned = write_nifti(tmp_path / "l.nii.gz", LABEL[:, ::-1], affine @ flip)
    np.testing.assert_array_equal(read_label(turned, source), LABEL)
    away = write_nifti(tmp_path / "m.nii.gz", LABEL, affine + np.eye(4)[[3, 0, 1, 2]].T * 5)
    with pytest.raises(UserError, match="scan and label"):
        read_label(away, source)


@pytest.mark.parametrize("field", ["LabelValue", "Layer"])
def test_a_damaged_number_of_a_segment_names_the_file(tmp_path, field):
    header = BY_SUFFIX[".nii"].read_header(write_nifti(tmp_path / "a.nii", IMAGE))
    path = tmp_path / "a.seg.nrrd"
    seg_nrrd.write(path, LABEL, header, {1: "a", 2: "b"}, {1: (255, 0, 0), 2: (0, 255, 0)}, "cml")
    whole = path.read_bytes()
    for damaged in (b"", b"\x7f", b"9" * 5000):
        path.write_bytes(re.sub(rb"(Segment1_%s:=)\d" % field.encode(), rb"\g<1>" + damaged, whole))
        for read in (seg_nrrd.names, lambda path: seg_nrrd.read(path, header)):
            with pytest.raises(UserError, match="cut off, damaged") as error:
                read(path)
            assert path.name in str(error.value)


def test_numbers_from_the_first_to_the_last_byte_are_checked(tmp_path):
    for suffix in (".nrrd", ".mha"):
        for compressed in (False, True):
            path = by_itk(tmp_path / f"a{suffix}", IMAGE, np.eye(3), compressed)
            whole = path.read_bytes()
            path.write_bytes(whole[:-20])
            with pytest.raises(UserError, match=r"too short|cut off, damaged"):
                BY_SUFFIX[suffix].read([path], 1)
        changed = bytearray(whole)
        changed[-20] ^= 0xFF
        path.write_bytes(changed)
        with pytest.raises(UserError, match="cut off, damaged"):
            BY_SUFFIX[suffix].read([path], 1)


@pytest.mark.parametrize(
    ("suffix", "old", "new", "told"),
    [
        (".nrrd", b"space directions: ", b"# ", "no space directions"),
        (".nrrd", b"space: left-posterior-superior", b"space dimension: 3", "space .* is unknown"),
        (".nrrd", b"space origin", b'space units: "m" "m" "m"\nspace origin', "millimetres"),
        (".nrrd", b"sizes: 7 6 5", b"sizes: 700 600 5", "too short"),
        (".nrrd", b"sizes: 7 6 5", b"sizes: 70000 60000 5", "more voxels"),
        (".nrrd", b"encoding: raw", b"encoding: hex", "encoding of the NRRD file"),
        (".nrrd", b"NRRD", b"NRRX", "not an NRRD file"),
        (".mha", b"ElementSpacing", b"Comment", "no voxel spacing"),
        (".mha", b"DimSize = 7 6 5", b"DimSize = 42 5", "unexpected shape"),
        (".mha", b"DimSize = 7 6 5", b"DimSize = 700 600 5", "too short"),
        (".mha", b"ElementDataFile", b"Comment", "not a MetaImage file"),
        (".mha", b"= LOCAL", b"= no.raw", "the file with the voxels is missing"),
        (".mha", b"= LOCAL", b"= LIST", "files of their own"),
        (".mha", b"TransformMatrix = 1 0 0", b"TransformMatrix = 0 0 0", "invalid geometry"),
    ],
)
def test_a_header_without_a_place_in_space_or_with_false_numbers_is_refused(
    tmp_path, suffix, old, new, told
):
    path = by_itk(tmp_path / f"a{suffix}", IMAGE, np.eye(3))
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(UserError, match=told) as error:
        BY_SUFFIX[suffix].read([path], 1)
    assert str(path) in str(error.value)


def test_files_that_an_nrrd_header_lists_are_told_as_such(tmp_path):
    path = tmp_path / "a.nhdr"
    path.write_text(
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 7 6 2\nendian: little\nencoding: raw\n"
        "space: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n"
        "data file: LIST\none.raw\ntwo.raw\n"
    )
    with pytest.raises(UserError, match="files of their own"):
        BY_SUFFIX[".nhdr"].read([path], 1)


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    from crossview.data.io import absent_libraries, extras

    assert absent_libraries([tmp_path / "a.nrrd", tmp_path / "b.nii"]) == []
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    (problem,) = absent_libraries([tmp_path / "a.nrrd", tmp_path / "c.nrrd", tmp_path / "b.nii"])
    assert f"{tmp_path.name}/a.nrrd, {tmp_path.name}/c.nrrd" in str(problem)
    assert 'pip install "crossview[formats]"' in str(problem)


def test_names_of_every_format(tmp_path):
    for suffix in SUFFIXES:
        assert split_name(f"p.1{suffix}") == ("p.1", suffix)
        assert ScanFiles("p.1", (tmp_path / f"p.1{suffix}",)).written_as[1] in (suffix, ".nii.gz")
