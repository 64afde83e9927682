"""NIfTI scans: read as the model wants them, and predictions that lie where the scan lies."""

import gzip

import nibabel
import numpy as np
import pytest
from tests.helpers.predicting import read_scan, write_scan

from crossview.core.errors import UserError
from crossview.data.io import NIFTI, volume_file

OBLIQUE = np.array(
    [[0.6, -0.35, 0.1, -31.5], [0.3, 0.65, -0.2, 12.25], [0.02, 0.2, 2.4, 7.0], [0, 0, 0, 1]]
)
SHEARED = np.array([[0.8, 0.3, 0, 5], [0, 0.9, 0, -4], [0, 0.1, 1.5, 3], [0, 0, 0, 1]])
SHAPE = (6, 5, 4)


def scan_file(path, array, affine=OBLIQUE, image=nibabel.Nifti1Image, **header):
    scan = image(array, affine)
    scan.header.set_xyzt_units("mm", "sec")
    for field, value in header.items():
        scan.header[field] = value
    nibabel.save(scan, path)
    return path


def read(*files, nifti_axes=(0, 1, 2), **options):
    return read_scan(*files, nifti_axes=nifti_axes, **options)


def values(shape=SHAPE, dtype=np.float32):
    return (np.random.default_rng(0).normal(size=shape) * 100).astype(dtype)


def problem(path, **options):
    with pytest.raises(UserError) as caught:
        read(path, **options)
    (told,) = caught.value.problems
    assert str(path) == told.where
    assert all((told.what, told.found, told.expected, told.fix))
    return told


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("affine", [OBLIQUE, SHEARED], ids=["oblique", "sheared"])
@pytest.mark.parametrize("image", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_label_lies_where_its_scan_lies(tmp_path, suffix, affine, image, axes):
    array = values()
    path = scan_file(
        tmp_path / f"scan{suffix}", array, affine, image, descrip=b"from the scanner", cal_max=300
    )
    found = read(path, nifti_axes=axes)
    np.testing.assert_array_equal(found.image[0], array.transpose(axes))
    write_scan(found, {"label": (found.image[0] > 0).astype(np.uint8)}, tmp_path / "out")
    source, label = nibabel.load(path), nibabel.load(tmp_path / "out" / path.name)
    assert type(label) is image
    assert label.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(label.dataobj), array > 0)
    np.testing.assert_array_equal(label.affine, source.affine)
    for field in ("sform_code", "qform_code", "xyzt_units", "srow_x", "quatern_b", "qoffset_x"):
        np.testing.assert_array_equal(label.header[field], source.header[field])
    np.testing.assert_array_equal(label.header.get_zooms(), source.header.get_zooms())
    assert label.header["cal_max"] == 0


def test_both_forms_of_the_affine_and_their_codes_are_kept(tmp_path):
    scan = nibabel.Nifti1Image(values(), None)
    scan.set_sform(SHEARED, code=4)
    scan.set_qform(np.diag([2, 3, 4, 1]), code=1)
    nibabel.save(scan, tmp_path / "scan.nii")
    write_scan(read(tmp_path / "scan.nii"), {"label": np.zeros(SHAPE, np.uint8)}, tmp_path / "out")
    header = nibabel.load(tmp_path / "out" / "scan.nii").header
    assert (header["sform_code"], header["qform_code"]) == (4, 1)
    np.testing.assert_allclose(header.get_sform(), SHEARED, atol=1e-6)
    np.testing.assert_allclose(header.get_qform(), np.diag([2, 3, 4, 1]), atol=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_scaled_whole_numbers_are_read_scaled_and_the_label_is_not(tmp_path, suffix):
    stored = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) - 50
    scan = nibabel.Nifti1Image(stored, OBLIQUE)
    scan.header.set_slope_inter(0.25, -1000)
    path = tmp_path / f"scan{suffix}"
    scan.to_file_map({key: nibabel.FileHolder(path) for key in ("header", "image")})
    found = read(path)
    assert found.image.dtype == np.float32
    np.testing.assert_allclose(found.image[0], nibabel.load(path).get_fdata(), rtol=1e-6)
    assert found.image.max() < -900
    write_scan(found, {"label": np.full(SHAPE, 3, np.uint8)}, tmp_path / "out")
    label = nibabel.load(tmp_path / "out" / path.name)
    assert (label.dataobj.slope, label.dataobj.inter) == (1, 0)
    assert set(np.unique(label.get_fdata())) == {3}


def test_maps_are_written_beside_the_label(tmp_path):
    axes = (2, 0, 1)
    path = scan_file(tmp_path / "scan.nii.gz", values())
    found = read(path, nifti_axes=axes)
    probability = np.random.default_rng(1).random((3, *found.image.shape[1:])).astype(np.float32)
    doubt = probability[0] / 2
    write_scan(
        found,
        {
            "label": probability.argmax(0).astype(np.uint8),
            "probability": probability,
            "disagreement": doubt,
        },
        tmp_path / "out",
    )
    label, several, one = (
        nibabel.load(tmp_path / "out" / folder / path.name)
        for folder in ("", "probability", "disagreement")
    )
    assert several.shape == (*SHAPE, 3)
    assert several.get_data_dtype() == one.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(several.dataobj).argmax(-1), np.asarray(label.dataobj))
    np.testing.assert_array_equal(np.asarray(one.dataobj).transpose(axes), doubt)
    for written in (label, several, one):
        np.testing.assert_array_equal(written.affine, nibabel.load(path).affine)
    assert not list(tmp_path.rglob("*.part"))


def test_a_last_axis_of_one_is_no_series(tmp_path):
    path = scan_file(tmp_path / "scan.nii", values((*SHAPE, 1)))
    found = read(path)
    assert found.image.shape == (1, *SHAPE)
    write_scan(found, {"label": np.zeros(SHAPE, np.uint8)}, tmp_path / "out")
    assert nibabel.load(tmp_path / "out" / "scan.nii").shape == SHAPE


def test_channels_come_in_one_file_or_in_one_each(tmp_path):
    array = values((*SHAPE, 2))
    together = read(scan_file(tmp_path / "scan.nii", array), channels=2, normalisation="z_score")
    files = tuple(
        scan_file(tmp_path / f"scan_000{channel}.nii", array[..., channel]) for channel in range(2)
    )
    apart = read(*files, channels=2, normalisation="z_score")
    assert together.image.shape == (2, *SHAPE)
    np.testing.assert_array_equal(together.image, apart.image)
    np.testing.assert_allclose(together.image.mean((1, 2, 3)), 0, atol=1e-6)


def test_channels_of_different_shape_are_refused(tmp_path):
    files = tuple(scan_file(tmp_path / f"scan_000{i}.nii", values((6, 5, 4 + i))) for i in range(2))
    with pytest.raises(UserError, match="differ in shape"):
        read(*files, channels=2)


def test_channels_that_lie_elsewhere_are_refused(tmp_path):
    files = tuple(
        scan_file(tmp_path / f"scan_000{i}.nii", values(), OBLIQUE @ np.diag([1, 1 - 2 * i, 1, 1]))
        for i in range(2)
    )
    with pytest.raises(UserError, match="are not aligned in space"):
        read(*files, channels=2)


def test_a_series_is_no_volume(tmp_path):
    told = problem(scan_file(tmp_path / "scan.nii.gz", values((*SHAPE, 5))))
    assert "(6, 5, 4, 5)" in told.found
    assert "series" in told.fix


@pytest.mark.parametrize("shape", [(6, 5), (6, 0, 4)])
def test_other_shapes_are_refused(tmp_path, shape):
    assert "shape" in problem(scan_file(tmp_path / "scan.nii", np.zeros(shape, np.float32))).what


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.95])
def test_a_file_that_is_cut_off_is_refused(tmp_path, suffix, keep):
    path = scan_file(tmp_path / f"scan{suffix}", values((12, 11, 10)))
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    assert "file is" in problem(path).what


def test_damage_inside_a_gzip_stream_is_found(tmp_path):
    path = scan_file(tmp_path / "scan.nii.gz", values((12, 11, 10)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 50] = bytes(50)
    path.write_bytes(content)
    problem(path)


def test_text_and_other_formats_are_refused(tmp_path):
    path = tmp_path / "scan.nii"
    path.write_text("a list of scans\n" * 100)
    problem(path)
    nibabel.save(nibabel.MGHImage(values(), np.eye(4)), tmp_path / "scan.mgh")
    with pytest.raises(UserError, match="not a NIfTI file"):
        NIFTI.read([tmp_path / "scan.mgh"], 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_counted(tmp_path, bad):
    array = values()
    array[1, 2, :3] = bad
    assert "3 NaN or infinite" in problem(scan_file(tmp_path / "scan.nii.gz", array)).found


def test_numbers_too_large_for_float32_are_refused(tmp_path):
    assert (
        "1 NaN or infinite"
        in problem(
            scan_file(tmp_path / "scan.nii", np.where(np.indices(SHAPE).sum(0) == 0, 1e300, 0.0))
        ).found
    )


def test_colours_and_complex_numbers_are_refused(tmp_path):
    colours = np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    assert "plain numbers" in problem(scan_file(tmp_path / "colour.nii", colours)).what
    assert (
        "complex" in problem(scan_file(tmp_path / "complex.nii", values(dtype=np.complex64))).found
    )


@pytest.mark.parametrize("shape", [(10_000, 10_000, 10_000), (1000, 1000, 900)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_claims_too_much_is_refused_unread(tmp_path, shape, suffix):
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.float32)
    header["magic"], header["vox_offset"] = b"n+1", 352
    content = header.binaryblock + bytes(4 + 1000)
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    told = problem(path)
    assert "header" in told.what
    assert f"{np.prod(shape):,} voxels" in told.found


def test_a_scan_above_the_limit_is_refused(tmp_path, monkeypatch):
    path = scan_file(tmp_path / "scan.nii", values())
    monkeypatch.setattr(volume_file, "LARGEST", 119)
    told = problem(path)
    assert (told.found, told.expected) == ("120 voxels", "at most 119")


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize(
    "turn", [np.eye(4), np.diag([-1, -1, 1, 1]), np.eye(4)[[2, 0, 1, 3]] * [1, -1, 1, 1]]
)
def test_canonical_scans_are_turned_and_resampled_and_predictions_turned_back(tmp_path, turn, axes):
    affine = OBLIQUE @ turn
    path = scan_file(tmp_path / "scan.nii.gz", values(), affine)
    plain, found = (
        read(path, orientation="canonical", nifti_axes=axes, spacing=spacing)
        for spacing in ((), (0, 1.2, 1.2))
    )
    world = nibabel.as_closest_canonical(nibabel.load(path))
    np.testing.assert_array_equal(plain.image[0], world.get_fdata(dtype=np.float32).transpose(axes))
    zooms = np.linalg.norm(world.affine[:3, :3], axis=0)[list(axes)]
    assert found.shape == plain.image.shape[1:]
    assert found.image.shape[2:] == tuple(
        round(side * zoom / 1.2) for side, zoom in zip(found.shape[1:], zooms[1:], strict=True)
    )
    label = (plain.image[0] > 0).astype(np.uint8)
    write_scan(
        found,
        {"label": label, "probability": np.stack([1.0 - label, label]).astype(np.float32)},
        tmp_path / "out",
    )
    written = nibabel.load(tmp_path / "out" / path.name)
    np.testing.assert_array_equal(
        np.asarray(written.dataobj), np.asarray(nibabel.load(path).dataobj) > 0
    )
    np.testing.assert_array_equal(written.affine, nibabel.load(path).affine)
    np.testing.assert_array_equal(
        np.asarray(nibabel.load(tmp_path / "out" / "probability" / path.name).dataobj)[..., 1],
        np.asarray(written.dataobj),
    )


def test_a_voxel_size_that_would_fill_the_memory_is_refused(tmp_path):
    told = problem(
        scan_file(tmp_path / "scan.nii", values(), np.diag([3000, 3000, 3000, 1])),
        spacing=(0.5, 0.5, 0.5),
    )
    assert "too large" in told.what
    assert "3000 x 3000 x 3000 mm" in told.found


def test_a_missing_file_is_named(tmp_path):
    assert "missing" in problem(tmp_path / "scan.nii").what


def test_private_header_extensions_are_not_copied(tmp_path):
    scan = nibabel.Nifti1Image(values(), OBLIQUE)
    scan.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"name of a patient"))
    nibabel.save(scan, tmp_path / "scan.nii")
    write_scan(read(tmp_path / "scan.nii"), {"label": np.zeros(SHAPE, np.uint8)}, tmp_path / "out")
    assert b"name of a patient" in (tmp_path / "scan.nii").read_bytes()
    assert b"name of a patient" not in (tmp_path / "out" / "scan.nii").read_bytes()
    assert len(nibabel.load(tmp_path / "scan.nii").header.extensions) == 1
