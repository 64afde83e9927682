"""DICOM SEG: what viewers need of one, its voxels read back by others, and SEG as labels."""

from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from tests.helpers.dicom import OBLIQUE, PATIENT, read_header, write_enhanced, write_series

from crossview.core.errors import UserError
from crossview.data.io.dicom_seg import names, read, write

SHAPE = (7, 6, 5)
STORED = np.random.default_rng(1).integers(0, 4000, SHAPE).astype(np.uint16)
NAMES, COLOURS = {1: "liver", 5: "Tumor, größer"}, {1: (220, 60, 20), 5: (0, 160, 250)}


@pytest.fixture
def series(tmp_path):
    """The header of a series whose file names are not in the order of its slices."""
    return read_header(write_series(tmp_path / "s", STORED))


def label(first: int = 1, last: int = 4) -> np.ndarray:
    """Return values 0, 1 and 5, only in some slices, with neither side symmetric."""
    values = np.zeros(SHAPE, np.uint8)
    values[1:4, 2:, first:last], values[5, 1:3, first : last - 1] = 1, 5
    return values


def as_numbers(values: np.ndarray) -> np.ndarray:
    return np.where(values == 5, 2, values)


def source_images(dataset) -> list[list[str]]:
    return [
        [source.ReferencedSOPInstanceUID for source in derived.SourceImageSequence]
        for frame in dataset.PerFrameFunctionalGroupsSequence
        for derived in frame.DerivationImageSequence
    ]


def test_a_seg_holds_what_a_viewer_needs(tmp_path, series):
    write(tmp_path / "l.dcm", label(), series, NAMES, COLOURS, "cml")
    found = pydicom.dcmread(tmp_path / "l.dcm")
    slices = {
        tuple(map(float, each.tags["ImagePositionPatient"])): each.tags["SOPInstanceUID"]
        for each in series.native.slices
    }
    tags = series.native.slices[0].tags
    assert found.Modality == "SEG"
    assert found.SegmentationType == "BINARY"
    assert found.FrameOfReferenceUID == tags["FrameOfReferenceUID"]
    assert found.SeriesInstanceUID != tags["SeriesInstanceUID"]
    assert (found.Rows, found.Columns, found.NumberOfFrames) == (6, 7, 5)
    listed = {
        each.ReferencedSOPInstanceUID
        for each in found.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert found.ReferencedSeriesSequence[0].SeriesInstanceUID == tags["SeriesInstanceUID"]
    assert listed == set(slices.values())
    for frame, sources in zip(
        found.PerFrameFunctionalGroupsSequence, source_images(found), strict=True
    ):
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        assert sources == [slices[tuple(map(float, place))]]
    segments = {each.SegmentNumber: each for each in found.SegmentSequence}
    assert {number: each.SegmentLabel for number, each in segments.items()} == {
        1: "liver",
        2: "Tumor, größer",
    }
    for number, value in ((1, 1), (2, 5)):
        lab = segments[number].RecommendedDisplayCIELabValue
        rgb = highdicom.color.CIELabColor.from_dicom_value(list(lab)).to_rgb(clip=True)
        np.testing.assert_allclose(rgb, COLOURS[value], atol=1)
        assert segments[number].SegmentAlgorithmType == "AUTOMATIC"
        assert segments[number].SegmentAlgorithmName == "cml"
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate"):
        assert found[keyword].value == PATIENT[keyword]
    assert found.StudyInstanceUID == pydicom.dcmread(tmp_path / "s" / "000.dcm").StudyInstanceUID


def test_others_read_the_same_voxels_at_the_same_places(tmp_path, series):
    values = label()
    write(tmp_path / "l.dcm", values, series, NAMES, COLOURS)
    volume = highdicom.seg.segread(tmp_path / "l.dcm").get_volume(combine_segments=True)
    points = np.argwhere(volume.array)
    places = volume.map_indices_to_reference(points) * (-1, -1, 1)
    expected = np.argwhere(values)
    expected_places = expected @ OBLIQUE[:3, :3].T + OBLIQUE[:3, 3]
    order, expected_order = np.lexsort(places.round(3).T), np.lexsort(expected_places.round(3).T)
    np.testing.assert_allclose(places[order], expected_places[expected_order], atol=1e-5)
    numbers = as_numbers(values)[tuple(expected.T)]
    np.testing.assert_array_equal(volume.array[tuple(points.T)][order], numbers[expected_order])
    # SimpleITK reads the frames: those of the first segment, then those of the second.
    frames = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "l.dcm")))
    liver, tumour = (values == 1).T[1:4], (values == 5).T[1:3]
    np.testing.assert_array_equal(frames > 0, [*liver, *tumour])


def test_a_seg_comes_back_as_a_label_on_the_scan_s_grid(tmp_path, series):
    for number, values in enumerate((label(), label(0, 5), label(3, 5), np.zeros_like(label()))):
        path = tmp_path / f"{number}.dcm"
        write(path, values, series, NAMES, COLOURS)
        assert names(path) == ("liver", "Tumor, größer")
        named, (found,) = read(path, series)
        assert named == names(path)
        np.testing.assert_array_equal(found, as_numbers(values))


def test_a_seg_fits_the_same_scan_as_nifti_in_any_storage(tmp_path, series):
    write(tmp_path / "l.dcm", label(), series, NAMES, COLOURS)
    turned = OBLIQUE[:, [2, 0, 1, 3]] @ np.diag([1, -1, 1, 1])
    turned[:3, 3] += OBLIQUE[:3, 0] * (SHAPE[0] - 1)
    scan = replace(series, shape=(5, 7, 6), affine=turned, native=None)
    _, (found,) = read(tmp_path / "l.dcm", scan)
    np.testing.assert_array_equal(found, as_numbers(label()).transpose(2, 0, 1)[:, ::-1])


def test_frames_of_an_enhanced_source_are_named(tmp_path):
    series = read_header(write_enhanced(tmp_path / "e.dcm", STORED, [2, 0, 4, 1, 3]))
    write(tmp_path / "l.dcm", label(), series, NAMES, COLOURS)
    _, (found,) = read(tmp_path / "l.dcm", series)
    np.testing.assert_array_equal(found, as_numbers(label()))
    frames = pydicom.dcmread(tmp_path / "l.dcm").PerFrameFunctionalGroupsSequence
    assert len(frames) == 5
    for frame in frames:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        (slice_there,) = (each for each in series.native.slices if each.frame == source - 1)
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(place, slice_there.place, atol=1e-6)


def test_an_anonymised_source_has_an_anonymous_seg(tmp_path):
    def anonymous(dataset, number):
        for keyword in (*PATIENT, "PatientSex", "StudyTime", "AccessionNumber", "StudyID"):
            delattr(dataset, keyword)
        del dataset.ReferringPhysicianName, dataset.PositionReferenceIndicator

    series = read_header(write_series(tmp_path / "s", STORED, change=anonymous))
    write(tmp_path / "l.dcm", label(), series, NAMES, COLOURS)
    assert str(pydicom.dcmread(tmp_path / "l.dcm").PatientName) == ""
    np.testing.assert_array_equal(read(tmp_path / "l.dcm", series)[1][0], as_numbers(label()))


def test_without_a_frame_of_reference_no_seg_is_written(tmp_path):
    def nowhere(dataset, number):
        del dataset.FrameOfReferenceUID

    series = read_header(write_series(tmp_path / "s", STORED, change=nowhere))
    with pytest.raises(UserError, match="no frame of reference"):
        write(tmp_path / "l.dcm", label(), series, NAMES, COLOURS)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def moved(header, steps):
    affine = header.affine.copy()
    affine[:3, 3] += affine[:3, 2] * steps
    return replace(header, affine=affine)


@pytest.mark.parametrize(
    ("of_scan", "what"),
    [
        (lambda series, tmp: read_header(write_series(tmp / "2", STORED, seed="2")), "different f"),
        (lambda series, tmp: moved(series, 0.3), "not aligned in space"),
        (lambda series, tmp: moved(series, 2), "reaches beyond its scan"),
    ],
    ids=["space", "between", "beyond"],
)
def test_a_seg_of_another_scan_is_refused(tmp_path, series, of_scan, what):
    write(tmp_path / "l.dcm", label(), series, NAMES, COLOURS)
    scan = of_scan(series, tmp_path)
    with pytest.raises(UserError, match=what):
        read(tmp_path / "l.dcm", scan)


def test_segments_that_overlap_come_in_layers(tmp_path, series):
    write(tmp_path / "o.dcm", label(), series, NAMES, COLOURS)
    dataset = pydicom.dcmread(tmp_path / "o.dcm")
    frames = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    frames = frames[: 5 * 42].reshape(5, 42)
    frames[3:] = frames[0]  # the liver's shape, which is the same in each slice
    packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    dataset.save_as(tmp_path / "o.dcm")
    _, (liver, tumour) = read(tmp_path / "o.dcm", series)
    np.testing.assert_array_equal(liver, label() == 1)
    np.testing.assert_array_equal(tumour, (label(1, 3) == 1) * 2)


def test_what_is_no_seg_is_refused(tmp_path, series):
    for reader in (names, lambda path: read(path, series)):
        with pytest.raises(UserError, match="the label is not one DICOM SEG"):
            reader(tmp_path / "s")
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "s" / "000.dcm").read_bytes()[:300])
    with pytest.raises(UserError):
        read(tmp_path / "cut.dcm", series)
