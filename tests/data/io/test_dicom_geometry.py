"""Series whose slices are no grid: refused, each with its cause."""

import zipfile

import numpy as np
import pytest
from tests.helpers.dicom import OBLIQUE, read, read_header, uid, write_series

from crossview.core.errors import UserError
from crossview.data.io.dicom_files import zip_holds_dicom

STORED = np.random.default_rng(1).integers(0, 4000, (6, 5, 8)).astype(np.uint16)

NORMAL = OBLIQUE[:3, 2] / np.linalg.norm(OBLIQUE[:3, 2]) * (-1, -1, 1)
STEP = float(np.linalg.norm(OBLIQUE[:3, 2]))


def moved(dataset, by):
    place = np.array(dataset.ImagePositionPatient, float) + by
    dataset.ImagePositionPatient = [f"{each:.9g}" for each in place]


def along_row(dataset):
    return np.array(dataset.ImageOrientationPatient[:3], float)


def changed(tmp_path, change):
    return write_series(tmp_path / "s", STORED, change=change)


def tilted(dataset, number):
    moved(dataset, along_row(dataset) * STEP * np.tan(np.radians(8)) * number)


def jumping(dataset, number):
    moved(dataset, along_row(dataset) * (number == 3))


def uneven(dataset, number):
    moved(dataset, NORMAL * STEP * 0.3 * (number > 4))


def echoes(dataset, number):
    dataset.EchoTime = 4.6 + 4.6 * (number % 2)
    dataset.TriggerTime = 7
    moved(dataset, NORMAL * STEP * (number // 2 - number))


def series(dataset, number):
    dataset.SeriesInstanceUID = uid("series", number % 2)


def localiser(dataset, number):
    if number == 5:
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def sizes(dataset, number):
    if number == 2:
        dataset.Rows, dataset.Columns = dataset.Columns, dataset.Rows


def spacings(dataset, number):
    if number == 2:
        dataset.PixelSpacing = [0.7, 0.7]


def frames(dataset, number):
    if number == 2:
        dataset.FrameOfReferenceUID = uid("another")


def unplaced(dataset, number):
    del dataset.ImagePositionPatient


def film(dataset, number):
    dataset.NumberOfFrames = 2
    dataset.PixelData *= 2


def lame(dataset, number):
    if number == 2:
        dataset.ImagePositionPatient = [1, 2]


def coloured(dataset, number):
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration = 0


def flat(dataset, number):
    dataset.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("change", "what", "found"),
    [
        (tilted, "shifted sideways (gantry tilt)", "8.0 degrees"),
        (jumping, "shifted sideways (gantry tilt)", "up to 1 mm"),
        (uneven, "unevenly spaced", "gaps from"),
        (echoes, "several images at one position", "8 images at 4 positions; they differ in Echo"),
        (series, "the folder holds 2 DICOM series", "MR series 3: 4 files, from 000.dcm; MR"),
        (localiser, "different orientations", "degrees"),
        (sizes, "differ in pixels", "6 x 5 in 7, 5 x 6 in 1"),
        (spacings, "differ in spacing", "0.7 x 0.7 in 1"),
        (frames, "differ in frames of reference", "2 frames of reference"),
        (unplaced, "have no place in space", "000.dcm (MR)"),
        (film, "have no place in space", "000.dcm (MR)"),
        (lame, "damaged", "ImagePositionPatient holds 2 numbers instead of 3"),
        (coloured, "in colour", "several samples"),
        (flat, "the orientation of the slices is invalid", "not at right angles"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_no_grid_is_refused(tmp_path, change, what, found):
    with pytest.raises(UserError) as caught:
        read_header(changed(tmp_path, change))
    (problem,) = caught.value.problems
    assert what in problem.what
    assert found in problem.found
    assert str(tmp_path / "s") in problem.where


@pytest.mark.parametrize(("gone", "number"), [([3], "1 missing slice"), ([2, 5, 6], "3 missing")])
def test_missing_slices_are_counted(tmp_path, gone, number):
    folder = changed(tmp_path, lambda dataset, number: None)
    for each in gone:
        (folder / f"{each * 7:03d}.dcm").unlink()
    with pytest.raises(UserError, match=number) as caught:
        read_header(folder)
    assert f"after slice {gone[0]}" in caught.value.problems[0].found


def test_the_same_image_in_two_files_is_named(tmp_path):
    folder = changed(tmp_path, lambda dataset, number: None)
    (folder / "copy.dcm").write_bytes((folder / "014.dcm").read_bytes())
    with pytest.raises(UserError, match="the same image twice") as caught:
        read_header(folder)
    assert "014.dcm, copy.dcm" in caught.value.problems[0].found


def test_small_errors_of_rounding_are_no_faults(tmp_path):
    def rounded(dataset, number):
        dataset.ImagePositionPatient = [f"{float(v):.2f}" for v in dataset.ImagePositionPatient]
        dataset.ImageOrientationPatient = [
            f"{float(v):.4f}" for v in dataset.ImageOrientationPatient
        ]

    np.testing.assert_allclose(read_header(changed(tmp_path, rounded)).affine, OBLIQUE, atol=0.01)


def test_other_objects_beside_the_series_are_left_out(tmp_path):
    """A report, a screenshot and a file of another kind lie in many folders of a series."""
    folder = changed(tmp_path, lambda dataset, number: None)

    def report(dataset, number):
        dataset.SeriesInstanceUID, dataset.SOPClassUID = (
            uid("report"),
            "1.2.840.10008.5.1.4.1.1.88.11",
        )
        for keyword in ("Rows", "Columns", "PixelData"):
            delattr(dataset, keyword)

    def screenshot(dataset, number):
        dataset.SeriesInstanceUID = uid("screenshot")
        del dataset.ImagePositionPatient

    one = STORED[:, :, :1]
    write_series(folder, one, change=report, name=lambda number: "report.dcm")
    write_series(folder, one, change=screenshot, name=lambda number: "shot")
    (folder / "list.txt").write_text("8 slices")
    np.testing.assert_array_equal(read(folder).image[0], STORED)


def test_an_empty_file_of_a_slice_is_damage(tmp_path):
    folder = changed(tmp_path, lambda dataset, number: None)
    (folder / "049.dcm").write_bytes(b"")
    with pytest.raises(UserError, match="cut off, damaged") as caught:
        read_header(folder)
    assert caught.value.problems[0].where.endswith("s/049.dcm")


def test_a_member_without_a_name_holds_nothing(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.txt", "text")
        archive.filelist[0].filename = ""
    assert not zip_holds_dicom(tmp_path / "a.zip")


def test_a_folder_or_a_zip_file_without_dicom_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 cut")
    for path, what in (("a", "no DICOM file"), ("a.zip", "damaged"), ("b", "missing")):
        with pytest.raises(UserError, match=what):
            read_header(tmp_path / path)


@pytest.mark.parametrize(("place", "value"), [(0, b"junk"), (8, b"\x07\x00")])
def test_a_damaged_member_of_a_zip_file_is_named(tmp_path, place, value):
    """The member's own header is no header, or states a compression that zipfile lacks."""
    folder = changed(tmp_path, lambda dataset, number: None)
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\1\2")
    at = place if value == b"junk" else central + place + 2
    data[at : at + len(value)] = value
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        read_header(path)
