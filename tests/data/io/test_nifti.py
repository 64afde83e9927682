"""NIfTI volumes and labels: intensities and geometry are kept, damage is named with its file."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from tests.helpers.made_folder import AFFINE, SHAPE, scan, write_nifti
from tests.helpers.nifti import read, read_header, read_label

from crossview.core.errors import UserError
from crossview.data.io.geometry import corners

IMAGE, LABEL = scan(1)


@pytest.mark.parametrize(
    "dtype", [np.int16, np.uint8, np.uint16, np.float32, np.float64, np.int8, np.int32]
)
def test_every_plain_type_is_read(tmp_path, dtype):
    values = (IMAGE % 100).astype(dtype)
    image = read([write_nifti(tmp_path / "a.nii.gz", values)], 1).image
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image[0], values)


def patched(path, at, values, dtype):
    """A whole file with other numbers at a place of its header."""
    content = bytearray(write_nifti(path.with_name("whole.nii"), IMAGE).read_bytes())
    numbers = np.array(values, dtype).tobytes()
    content[at : at + len(numbers)] = numbers
    path.write_bytes(gzip.compress(bytes(content)))
    return path


def test_the_header_s_scale_is_applied(tmp_path):
    path = patched(tmp_path / "a.nii.gz", 112, [0.5, -1000], np.float32)
    np.testing.assert_array_equal(read([path], 1).image[0], IMAGE * 0.5 - 1000)


def sheared() -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 1], affine[1, 2], affine[:3, 3] = 0.3, -0.2, (5, -7, 9)
    return affine


@pytest.mark.parametrize(
    "affine", [AFFINE, sheared(), np.diag([-1.0, 1, 4, 1])], ids=["straight", "sheared", "flipped"]
)
def test_a_label_on_the_scan_s_grid_is_read(tmp_path, affine):
    scan_file, label = (
        write_nifti(tmp_path / "a.nii.gz", IMAGE, affine),
        write_nifti(tmp_path / "l.nii.gz", LABEL, affine),
    )
    classes = read_label(label, scan_file)
    assert classes.dtype == np.uint8
    assert classes.shape == read([scan_file], 1).image.shape[1:]
    assert np.bincount(classes.ravel()).tolist() == np.bincount(LABEL.ravel()).tolist()


def test_rounding_in_the_header_is_tolerated(tmp_path):
    moved = AFFINE + 1e-3
    moved[3] = AFFINE[3]
    scan_file, label = (
        write_nifti(tmp_path / "a.nii.gz", IMAGE),
        write_nifti(tmp_path / "l.nii.gz", LABEL, moved),
    )
    np.testing.assert_array_equal(read_label(label, scan_file), LABEL)
    almost = write_nifti(tmp_path / "f.nii.gz", LABEL * (1 + 1e-6))
    np.testing.assert_array_equal(read_label(almost, scan_file), LABEL)


def shifted(by: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] = by
    return affine


@pytest.mark.parametrize(
    ("label", "affine", "told"),
    [
        (LABEL[:-1], AFFINE, "differ in shape"),
        (LABEL, shifted(0.5), "corners up to 0.5 mm apart"),
        (LABEL, np.eye(4), "are not aligned in space"),
        (LABEL, np.diag([-1.0, 1.5, 2, 1]), "are not aligned in space"),
        (LABEL + np.random.default_rng(0).normal(0, 1e-3, SHAPE), AFFINE, "fractions"),
        (LABEL.astype(np.int8) - 1, AFFINE, "values -1, 0, 1"),
        (LABEL.astype(np.int16) * 500, AFFINE, "values 0, 500, 1000"),
        (np.where(LABEL == 1, np.nan, LABEL).astype(np.float32), AFFINE, "NaN"),
        (np.stack([LABEL, LABEL], -1), AFFINE, "the label has an unexpected shape"),
    ],
)
def test_a_label_that_is_none_is_told_with_what_it_holds(tmp_path, label, affine, told):
    scan_file, path = (
        write_nifti(tmp_path / "a.nii.gz", IMAGE),
        write_nifti(tmp_path / "l.nii.gz", label, affine),
    )
    with pytest.raises(UserError) as error:
        read_label(path, scan_file)
    assert told in str(error.value)
    assert str(path) in str(error.value)


def truncated(path):
    whole = gzip.compress(
        write_nifti(
            path.with_name("whole.nii"), np.random.default_rng(0).normal(size=(20, 20, 20))
        ).read_bytes()
    )
    path.write_bytes(whole[: len(whole) // 2])


def header_only(path):
    path.write_bytes(
        gzip.compress(write_nifti(path.with_name("whole.nii"), IMAGE).read_bytes()[:352])
    )


def huge(path):
    patched(path, 40, [3, 10_000, 10_000, 10_000], np.int16)


def no_geometry(path):
    patched(path, 252, [0, 1], np.int16)
    path.write_bytes(
        gzip.compress(
            (content := gzip.decompress(path.read_bytes()))[:280] + bytes(48) + content[328:]
        )
    )


def colours(path):
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, kind), AFFINE), path)


def altered(path):
    """Whole but for one bit of a voxel: only the checksum tells."""
    content = bytearray(
        gzip.compress(
            write_nifti(path.with_name("whole.nii"), np.ones((20, 20, 20), np.int16)).read_bytes(),
            0,
        )
    )
    content[-100] ^= 1
    path.write_bytes(content)


def without_its_end(path):
    path.write_bytes(write_nifti(path, IMAGE).read_bytes()[:-3])


def without_a_side(path):
    patched(path, 252, [0, 0], np.int16)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[80:84] = np.float32(0).tobytes()
    path.write_bytes(gzip.compress(bytes(content)))


def flat(path):
    affine = AFFINE.copy()
    affine[:3, 1] = affine[:3, 0]
    write_nifti(path, IMAGE, affine)


def not_compressed(path):
    path.write_bytes(write_nifti(path.with_name("whole.nii"), IMAGE).read_bytes())


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (truncated, "cut off"),
        (altered, "CRC"),
        (without_its_end, "cut off"),
        (without_a_side, "voxel spacing 0,"),
        (flat, "axes in one plane"),
        (not_compressed, "rename it to bad.nii"),
        (header_only, "cut off"),
        (huge, "more voxels than any scan has"),
        (colours, "not plain numbers"),
        (no_geometry, "invalid geometry"),
        (lambda path: path.touch(), "not a NIfTI file"),
        (lambda path: path.mkdir(), "not a NIfTI file"),
        (lambda path: None, "missing"),
        (lambda path: write_nifti(path, np.full(SHAPE, np.nan, np.float32)), "NaN"),
        (lambda path: write_nifti(path, np.zeros((*SHAPE, 3), np.int16)), "unexpected shape"),
        (lambda path: write_nifti(path, np.zeros(SHAPE[:2], np.int16)), "unexpected shape"),
        (lambda path: write_nifti(path, np.zeros((1, 1, 1, 1, 2), np.int16)), "unexpected shape"),
        (lambda path: write_nifti(path, np.zeros(SHAPE, np.complex64)), "not plain numbers"),
    ],
)
def test_damaged_and_foreign_scans_are_named(tmp_path, make, told):
    path = tmp_path / "bad.nii.gz"
    make(path)
    with pytest.raises(UserError) as error:
        read([path], 1)
    assert told in str(error.value)
    assert str(path) in str(error.value)


def test_channels_must_lie_on_one_grid(tmp_path):
    first, second = (
        write_nifti(tmp_path / "0.nii.gz", IMAGE),
        write_nifti(tmp_path / "1.nii.gz", IMAGE, shifted(3)),
    )
    with pytest.raises(UserError, match=r"1\.nii\.gz: the channels of a scan are not aligned"):
        read([first, second], 2)


def test_a_label_without_axes_is_refused_by_name(tmp_path):
    """Its header's number of axes is 0."""
    scan_file, label = (
        write_nifti(tmp_path / "a.nii", IMAGE),
        write_nifti(tmp_path / "b.nii", LABEL),
    )
    content = bytearray(label.read_bytes())
    content[40:42] = bytes(2)
    label.write_bytes(content)
    for one, other in ((scan_file, label), (label, scan_file), (label, label)):
        with pytest.raises(UserError):
            read_label(one, other)


def test_a_grid_is_read_from_the_header_alone(tmp_path):
    path = tmp_path / "a.nii"
    whole = write_nifti(path, np.zeros((*SHAPE, 2), np.int16), sheared())
    path.write_bytes(whole.read_bytes()[:352])
    header = read_header(path)
    assert (header.shape, header.channels) == (SHAPE, 2)
    np.testing.assert_allclose(header.affine, sheared(), atol=1e-6)
    np.testing.assert_allclose(
        corners(header.shape, header.affine)[-1], (sheared() @ [6, 5, 4, 1])[:3], atol=1e-5
    )


def test_a_compressed_file_without_the_suffix_is_told(tmp_path):
    path = tmp_path / "bad.nii"
    path.write_bytes(write_nifti(tmp_path / "a.nii.gz", IMAGE).read_bytes())
    with pytest.raises(UserError, match=r"rename it to bad\.nii\.gz"):
        read([path], 1)


def test_capitals_in_the_suffix_change_nothing(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", np.zeros((64, 64, 64), np.float32)).rename(
        tmp_path / "A.NII.GZ"
    )
    assert read([path], 1).image.shape == (1, 64, 64, 64)


def test_a_label_s_place_and_its_values_are_told_at_once(tmp_path):
    scan_file, label = (
        write_nifti(tmp_path / "a.nii.gz", IMAGE),
        write_nifti(tmp_path / "l.nii.gz", 1.5 * LABEL, shifted(3)),
    )
    with pytest.raises(UserError) as error:
        read_label(label, scan_file)
    first, second = (problem.what for problem in error.value.problems)
    assert (first, second) == (
        "scan and label are not aligned in space",
        "the label contains values that are not classes",
    )
