"""Whole files of the formats of volumes of other programs: NRRD, MetaImage and DICOM."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.hold.corpus import Example, Read, arrays
from benchmarks.hold.mutation import Change, changed_bytes, changed_zip
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from crossview.data.io import BY_SUFFIX, dicom_seg, seg_nrrd
from crossview.data.io.dicom_files import FOLDER
from crossview.data.io.dicom_slices import CHOICE

ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"

AXES = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1.5, 1]}

CLASSES = {1: "organ", 2: "tumour"}
COLOURS = {1: (255, 0, 0), 2: (0, 255, 0)}


def volumes(folder: Path) -> list[Example]:
    """Return examples of NRRD, MetaImage and DICOM, made in ``folder``."""
    made = (_nrrds, _metas, _series, _segments)
    return [example for make in made for example in make(folder)]


def _example(
    kind: str, home: Path, name: str, change: Change = changed_bytes, of_folder: bool = False
) -> Example:
    """Return the example of a file; of a folder, every read is of the folder."""
    suffix = FOLDER if of_folder else max(filter(name.endswith, BY_SUFFIX), key=len)
    reader = BY_SUFFIX[suffix]
    reads: tuple[Read, ...] = (
        reader.read_header,
        lambda path: reader.read([path], 1),
        lambda path: reader.read_label(path, reader.read_header(path), path),
    )
    if of_folder:
        reads = tuple(lambda path, read=read: read(path.parent) for read in reads)
    return Example(kind, name, (home / name).read_bytes(), change, reads, home=home)


def _new(folder: Path, name: str) -> Path:
    home = folder / name
    home.mkdir(parents=True)
    return home


def _nrrds(folder: Path) -> Iterator[Example]:
    _, label = arrays()
    fields = (
        "NRRD0005\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 7 6 5\n"
        "space directions: (1,0,0) (0,1.5,0) (0,0,2)\nspace origin: (0,0,0)\nendian: little\n"
    )
    content = label.tobytes(order="F")
    home = _new(folder, "nrrd")
    (home / "raw.nrrd").write_bytes(f"{fields}encoding: raw\n\n".encode() + content)
    text = " ".join(map(str, label.ravel(order="F")))
    (home / "text.nrrd").write_text(f"{fields}encoding: ascii\n\n{text}\n")
    (home / "voxels.raw").write_bytes(content)
    (home / "apart.nhdr").write_text(f"{fields}encoding: raw\ndata file: voxels.raw\n\n")
    for name in ("raw.nrrd", "text.nrrd", "apart.nhdr"):
        yield _example(Path(name).suffix, home, name)


def _metas(folder: Path) -> Iterator[Example]:
    image, _ = arrays()
    fields = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
        "ElementSpacing = 1 1.5 2\nDimSize = 7 6 5\nElementType = MET_SHORT\nElementDataFile = "
    )
    home = _new(folder, "meta")
    content = image.tobytes(order="F")
    (home / "raw.mha").write_bytes(f"{fields}LOCAL\n".encode() + content)
    (home / "voxels.raw").write_bytes(content)
    (home / "apart.mhd").write_text(f"{fields}voxels.raw\n")
    for name in ("raw.mha", "apart.mhd"):
        yield _example(Path(name).suffix, home, name)


def _series(folder: Path) -> Iterator[Example]:
    home = _new(folder, "series")
    for number in range(5):
        _slice(number, "1").save_as(home / f"{number}.dcm", enforce_file_format=True)
    yield _example("DICOM series", home, "2.dcm", of_folder=True)
    packed = _new(folder, "packed")
    with zipfile.ZipFile(packed / "series.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(home.iterdir()):
            archive.write(path, path.name)
    yield _example(".zip", packed, "series.zip", changed_zip)
    frames = _new(folder, "frames")
    _multi_frame().save_as(frames / "frames.dcm", enforce_file_format=True)
    yield _example(".dcm", frames, "frames.dcm")
    several = _new(folder, "several")
    for number in range(10):
        of = _slice(number % 5, str(number // 5))
        of.save_as(several / f"{number}.dcm", enforce_file_format=True)
    (several / CHOICE).write_text("7.dcm\n")
    yield _example(CHOICE, several, CHOICE, of_folder=True)


def _segments(folder: Path) -> Iterator[Example]:
    """Return examples of labels by name, read on the grid of the series above."""
    _, label = arrays()
    header = BY_SUFFIX[FOLDER].read_header(folder / "series")
    home = _new(folder, "segments")
    seg_nrrd.write(home / "label.seg.nrrd", label, header, CLASSES, COLOURS, "cml")
    dicom_seg.write(home / "label.dcm", label, header, CLASSES, COLOURS)
    for kind, name in ((".seg.nrrd", "label.seg.nrrd"), ("DICOM SEG", "label.dcm")):
        reader = BY_SUFFIX[Path(name).suffix]
        reads: tuple[Read, ...] = (
            reader.names,
            lambda path, reader=reader: reader.read_segments(path, header),
        )
        content = (home / name).read_bytes()
        share = 0.5 if kind == "DICOM SEG" else 1.0
        yield Example(kind, name, content, changed_bytes, reads, share, home)


def _uid(*parts: object) -> str:
    return str(generate_uid(entropy_srcs=[str(part) for part in parts]))


def _slice(number: int, series: str) -> FileDataset:
    """Return a slice of an MR series, with the tags that a scanner writes."""
    image, _ = arrays()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = _uid("slice", series, number)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        **{"SOPClassUID": MRImageStorage, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID},
        **{"StudyInstanceUID": _uid("study"), "SeriesInstanceUID": _uid("series", series)},
        **{"FrameOfReferenceUID": _uid("frame"), "Modality": "MR", "InstanceNumber": number},
        **{"PatientName": "A^B", "PatientID": "1", "StudyID": "1", "SeriesNumber": 1},
        **{"StudyDate": "20000101", "StudyTime": "101112", "AccessionNumber": ""},
        **{"PatientBirthDate": "", "PatientSex": "", "ReferringPhysicianName": ""},
        **{"PositionReferenceIndicator": "", "ImagePositionPatient": [0, 0, 2 * number]},
        **{"SliceThickness": 2, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"},
        **{"Rows": 6, "Columns": 7, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15},
        **{"PixelRepresentation": 1, "RescaleSlope": 1, "RescaleIntercept": 0, **AXES},
        "PixelData": image[:, :, number].tobytes(order="F"),
    }
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def _multi_frame() -> FileDataset:
    """Return an enhanced MR object of five frames."""
    slices = [_slice(number, "1") for number in range(5)]
    made = _slice(0, "frames")
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = ENHANCED_MR
    made.NumberOfFrames = 5
    shared, made.PerFrameFunctionalGroupsSequence = Dataset(), []
    shared.PlaneOrientationSequence = [_tags(made, "ImageOrientationPatient")]
    shared.PixelMeasuresSequence = [_tags(made, "PixelSpacing", "SliceThickness")]
    made.SharedFunctionalGroupsSequence = [shared]
    for each in slices:
        group = Dataset()
        group.PlanePositionSequence = [_tags(each, "ImagePositionPatient")]
        made.PerFrameFunctionalGroupsSequence.append(group)
    for keyword in ("ImagePositionPatient", *AXES):
        delattr(made, keyword)
    made.PixelData = b"".join(each.PixelData for each in slices)
    return made


def _tags(dataset: Dataset, *keywords: str) -> Dataset:
    made = Dataset()
    for keyword in keywords:
        setattr(made, keyword, dataset[keyword].value)
    return made
