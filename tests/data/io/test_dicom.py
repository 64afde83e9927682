"""DICOM series as scans: values and places as SimpleITK and NIfTI have them."""

import shutil
import zipfile
from pathlib import Path

import gdcm
import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian
from tests.helpers.dicom import OBLIQUE, PATIENT, read, read_header, write_enhanced, write_series

from crossview.core.errors import UserError
from crossview.data.io import nifti

SHAPE = (7, 6, 5)

RANDOM = np.random.default_rng(1)
STORED = RANDOM.integers(0, 4000, SHAPE).astype(np.uint16)
SIGNED = RANDOM.integers(-2000, 2000, SHAPE).astype(np.int16)


def by_itk(folder) -> tuple[np.ndarray, np.ndarray]:
    """Return values (X, Y, Z) and affine of a series as SimpleITK reads it."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), np.diag([-1, -1, 1, 1]) @ affine


@pytest.mark.parametrize(
    "values", [STORED, SIGNED, STORED.astype(np.uint8)], ids=lambda values: values.dtype.name
)
def test_values_and_places_are_those_of_simpleitk_and_nifti(tmp_path, values):
    folder = write_series(tmp_path / "s", values, modality="CT")
    found = read(folder)
    assert found.image.dtype == np.float32
    np.testing.assert_array_equal(found.image[0], values.astype(float) - 1024)
    np.testing.assert_allclose(found.header.affine, OBLIQUE, atol=1e-6)
    theirs, affine = by_itk(folder)
    np.testing.assert_array_equal(found.image[0], theirs)
    np.testing.assert_allclose(found.header.affine, affine, atol=1e-6)
    assert found.header.shape == SHAPE
    nib.save(nib.Nifti1Image(values, OBLIQUE), tmp_path / "s.nii")
    turn = nifti.opened(tmp_path / "s.nii").header.turn_of(
        found.header, tmp_path / "s.nii", folder, "both", ""
    )
    assert turn.axes == (0, 1, 2)
    assert not any(turn.flips)


def test_slices_that_run_against_the_normal_are_turned(tmp_path):
    against = OBLIQUE @ np.diag([1, 1, -1, 1])
    found = read(write_series(tmp_path / "s", STORED, against))
    np.testing.assert_array_equal(found.image[0], STORED[:, :, ::-1])
    last = against @ (0, 0, SHAPE[2] - 1, 1)
    np.testing.assert_allclose(found.header.affine[:3, 3], last[:3], atol=1e-6)


def test_each_slice_has_its_own_slope_and_intercept(tmp_path):
    def slopes(dataset, number):
        dataset.RescaleSlope, dataset.RescaleIntercept = 1 + 0.5 * number, -number

    folder = write_series(tmp_path / "s", STORED, change=slopes, modality="PT")
    number = np.arange(SHAPE[2])
    np.testing.assert_array_equal(read(folder).image[0], STORED * (1 + 0.5 * number) - number)


def test_a_table_of_values_is_looked_up(tmp_path):
    """Old scanners store a table in place of slope and intercept."""

    def table(dataset, number):
        item = Dataset()
        item.LUTDescriptor, item.ModalityLUTType = [256, 0, 16], "US"
        values = (3 * np.arange(256) + 7) % 1000
        item.add_new("LUTData", "OW", values.astype("<u2").tobytes())
        dataset.ModalityLUTSequence = [item]

    stored = (STORED % 256).astype(np.uint8)
    folder = write_series(tmp_path / "s", stored, change=table)
    expected = (3 * stored.astype(int) + 7) % 1000
    np.testing.assert_array_equal(read(folder).image[0], expected)


def test_only_the_stored_bits_count(tmp_path):
    """The upper bits of old files hold overlays; in a signed number they repeat no sign."""

    def twelve(dataset, number):
        dataset.BitsStored, dataset.HighBit = 12, 11

    junk = write_series(tmp_path / "u", STORED | np.uint16(0x5000), change=twelve)
    np.testing.assert_array_equal(read(junk).image[0], STORED)
    twelve_bits = (SIGNED & np.int16(0x0FFF)) | np.int16(0x3000)
    junk = write_series(tmp_path / "s", twelve_bits, change=twelve)
    np.testing.assert_array_equal(read(junk).image[0], SIGNED)


def test_tags_of_display_and_padding_change_no_value(tmp_path):
    """SimpleITK turns MONOCHROME1 around before it scales; dcm2niix and pydicom do not."""

    def shown(dataset, number):
        dataset.PhotometricInterpretation, dataset.PixelPaddingValue = "MONOCHROME1", -2000
        dataset.WindowCenter, dataset.WindowWidth = 40, 400

    padded = SIGNED.copy()
    padded[:2] = -2000
    found = read(write_series(tmp_path / "s", padded, change=shown, modality="CT"))
    np.testing.assert_array_equal(found.image[0], padded.astype(float) - 1024)


def zipped(folder: Path, path: Path) -> Path:
    """Write a folder to a zip file as macOS does, with files of its own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, f"exam/series/{file.name}")
        archive.writestr("__MACOSX/exam/._000.dcm", b"junk")
        archive.writestr("exam/README.txt", "hello")
    return path


def test_a_zip_file_and_subfolders_give_the_same_scan(tmp_path):
    folder = write_series(tmp_path / "s", STORED, name=lambda number: f"IM{number:04d}")
    (tmp_path / "deep" / "DICOM").mkdir(parents=True)
    shutil.copytree(folder, tmp_path / "deep" / "DICOM" / "s")
    (tmp_path / "deep" / "notes.txt").write_text("no slice")
    for path in (zipped(folder, tmp_path / "s.zip"), tmp_path / "deep", folder):
        found = read(path)
        np.testing.assert_array_equal(found.image[0], STORED)
        np.testing.assert_allclose(found.header.affine, OBLIQUE, atol=1e-6)


def test_frames_of_an_enhanced_file_are_slices(tmp_path):
    slopes = [1.0, 2.0, 1.5, 3.0, 0.5]
    path = write_enhanced(tmp_path / "e.dcm", STORED, [2, 0, 4, 1, 3], slopes)
    found = read(path)
    np.testing.assert_array_equal(found.image[0], STORED * slopes - np.arange(5))
    np.testing.assert_allclose(found.header.affine, OBLIQUE, atol=1e-6)


def test_channels_are_series_on_one_grid(tmp_path):
    one = write_series(tmp_path / "c_0000", STORED)
    two = write_series(tmp_path / "c_0001", SIGNED, OBLIQUE @ np.diag([1, 1, -1, 1]), seed="2")
    moved = OBLIQUE.copy()
    moved[:3, 3] += OBLIQUE[:3, 2] * (SHAPE[2] - 1)
    two = write_series(tmp_path / "c_0002", SIGNED, moved @ np.diag([1, 1, -1, 1]), seed="2")
    np.testing.assert_array_equal(read(one, two).image, [STORED, SIGNED[:, :, ::-1]])
    shifted = write_series(tmp_path / "c_0003", SIGNED, moved)
    with pytest.raises(UserError, match="the channels of a scan are not aligned in space"):
        read(one, shifted)


@pytest.mark.parametrize(
    "syntax", ["JPEGLosslessProcess14_1", "JPEG2000Lossless", "JPEGLSLossless", "RLELossless"]
)
def test_compressed_pixels_are_decoded(tmp_path, syntax):
    values = RANDOM.integers(-2000, 2000, (64, 48, 2)).astype(np.int16)
    folder = write_series(tmp_path / "s", values)
    for path in folder.iterdir():
        compress(str(path), getattr(gdcm.TransferSyntax, syntax))
    np.testing.assert_array_equal(read(folder).image[0], values)


def test_a_deflated_file_is_read(tmp_path):
    folder = write_series(tmp_path / "s", SIGNED)
    for path in folder.iterdir():
        dataset = dcmread(path)
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dataset.save_as(path)
    np.testing.assert_array_equal(read(folder).image[0], SIGNED)


def test_a_projection_has_no_place_in_space(tmp_path):
    def projected(dataset, _) -> None:
        dataset.ImagerPixelSpacing = dataset.PixelSpacing
        del dataset.PixelSpacing

    with pytest.raises(UserError, match="no place in space"):
        read(write_series(tmp_path / "s", STORED, change=projected))


def compress(path: str, syntax: int) -> None:
    """Replace a file by one of compressed pixels."""
    reader, change, writer = (
        gdcm.ImageReader(),
        gdcm.ImageChangeTransferSyntax(),
        gdcm.ImageWriter(),
    )
    reader.SetFileName(path)
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(path)
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def test_a_single_slice_is_no_scan_but_a_folder_of_one_is(tmp_path):
    folder = write_series(tmp_path / "s", STORED[:, :, :1])
    header = read_header(folder)
    assert header.shape == (7, 6, 1)
    np.testing.assert_allclose(header.affine, OBLIQUE, atol=1e-6)
    with pytest.raises(UserError, match="single slice of a DICOM series"):
        read_header(folder / "000.dcm")


def test_no_message_quotes_the_patient(tmp_path, capfd, recwarn):
    def odd(dataset, number):
        dataset.add_new("PatientAge", "AS", "not an age " + PATIENT["PatientName"])
        dataset.StudyDate = "no date " + PATIENT["StudyDate"]
        dataset.PixelData = dataset.PixelData[: -2 * number] if number else dataset.PixelData

    folder = write_series(tmp_path / "s", STORED, change=odd)
    recwarn.clear()
    read_header(folder)
    with pytest.raises(UserError) as caught:
        read(folder)
    printed = str(caught.value) + "".join(capfd.readouterr())
    printed += "".join(str(each.message) for each in recwarn)
    assert not [value for value in PATIENT.values() if value in printed]


def test_without_the_extra_its_name_is_given(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "s", STORED)
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(UserError, match=r'pip install "crossview\[dicom\]"'):
        read_header(folder)


def test_a_cut_anywhere_is_refused(tmp_path):
    """That of a slice at an end would else go unnoticed: no gap shows it."""
    folder = write_series(tmp_path / "s", STORED)
    (path, *_) = sorted(folder.iterdir())
    whole = path.read_bytes()
    for end in range(0, len(whole) - 2, 37):
        path.write_bytes(whole[:end])
        with pytest.raises(UserError):
            read(folder)


def test_other_damage_is_read_or_refused(tmp_path):
    folder = write_series(tmp_path / "s", STORED)
    (path, *_) = sorted(folder.iterdir())
    whole, random = path.read_bytes(), np.random.default_rng(3)
    refused = 0
    for _ in range(60):
        content = bytearray(whole)
        for at in random.integers(128, len(content), 4):
            content[at] = random.integers(256)
        path.write_bytes(content)
        try:
            read(folder)
        except UserError:
            refused += 1
    assert refused > 10
