"""DICOM series for tests: one file per slice, with the tags of an MR or CT scanner."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from crossview.data.io import dicom, volume_file
from crossview.data.io.geometry import Header
from crossview.data.io.scan import Scan

PATIENT = {
    "PatientName": "Secret^Person",
    "PatientID": "SECRET-4711",
    "PatientBirthDate": "19010203",
    "StudyDate": "19870605",
}
"""Values that must never leave the files of a scan, except into a DICOM SEG."""


def straightened(affine: np.ndarray) -> np.ndarray:
    """Return an affine with the nearest three perpendicular axes, of the same lengths."""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(affine[:3, :3] / sides)
    result = affine.copy()
    result[:3, :3] = left @ right * sides
    return result


OBLIQUE = straightened(
    np.array(
        [[-0.45, 0.1, 0.05, 12.5], [0.1, -0.67, -0.4, -30.25], [0.1, 0.18, 1.9, 44], [0, 0, 0, 1]]
    )
)
"""Voxels of about 0.5 x 0.7 x 2 mm towards left, back and head, the third along the normal."""


def read(*paths: Path) -> Scan:
    """Return a scan of one series per channel."""
    return volume_file.read(dicom.opened, paths, len(paths))


def read_header(path: Path) -> Header:
    return dicom.opened(path).header


def write_series(
    folder: Path,
    values: np.ndarray,
    affine: np.ndarray = OBLIQUE,
    change: Callable[[Dataset, int], None] = lambda dataset, number: None,
    name: Callable[[int], str] = lambda number: f"{(number * 7) % 101:03d}.dcm",
    modality: str = "MR",
    seed: str = "1",
) -> Path:
    """Write stored numbers (X, Y, Z), 8 or 16 bits, one file per slice along the third axis.

    Args:
        folder: Is created.
        values: The stored numbers.
        affine: Voxel to mm, right-anterior-superior, as in NIfTI. The third axis may point
            against the normal: positions decide the order of slices.
        change: Changes a slice's tags before it is written, given its number.
        name: A slice's file name; by default not in the order of the slices.
        modality: MR or CT.
        seed: Of the UIDs of study, series and frame of reference.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(values.shape[2]):
        dataset = _slice(values[:, :, number], affine, number, modality, seed)
        change(dataset, number)
        dataset.save_as(folder / name(number), enforce_file_format=True)
    return folder


def write_enhanced(
    path: Path, values: np.ndarray, order: list[int], slopes: list[float] | None = None
) -> Path:
    """Write stored numbers (X, Y, Z) to one enhanced MR file whose frames have this order."""
    dataset = _slice(values[:, :, 0], OBLIQUE, 0, "MR", "1")
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = UID("1.2.840.10008.5.1.4.1.1.4.1")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = kind
    frames = [_slice(values[:, :, number], OBLIQUE, number, "MR", "1") for number in order]
    shared, dataset.PerFrameFunctionalGroupsSequence = Dataset(), []
    shared.PlaneOrientationSequence = [_only(dataset, "ImageOrientationPatient")]
    shared.PixelMeasuresSequence = [_only(dataset, "PixelSpacing", "SliceThickness")]
    dataset.SharedFunctionalGroupsSequence = [shared]
    for number, frame in zip(order, frames, strict=True):
        group = Dataset()
        group.PlanePositionSequence = [_only(frame, "ImagePositionPatient")]
        if slopes:
            frame.RescaleSlope, frame.RescaleIntercept = slopes[number], -number
            group.PixelValueTransformationSequence = [
                _only(frame, "RescaleSlope", "RescaleIntercept")
            ]
        dataset.PerFrameFunctionalGroupsSequence.append(group)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)
    dataset.NumberOfFrames = len(order)
    dataset.PixelData = b"".join(frame.PixelData for frame in frames)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _only(dataset: Dataset, *keywords: str) -> Dataset:
    """Return a data set of these tags alone."""
    result = Dataset()
    for keyword in keywords:
        setattr(result, keyword, dataset[keyword].value)
    return result


def uid(*parts: object) -> UID:
    """Return the UID that belongs to these words."""
    return generate_uid(entropy_srcs=[str(part) for part in parts])


def _slice(
    plane: np.ndarray, affine: np.ndarray, number: int, modality: str, seed: str
) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage if modality == "MR" else CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid("instance", seed, number)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    for keyword, value in PATIENT.items():
        setattr(dataset, keyword, value)
    dataset.StudyTime, dataset.AccessionNumber, dataset.StudyID = "101112", "", "1"
    dataset.ReferringPhysicianName = dataset.PatientSex = ""
    dataset.Manufacturer, dataset.Modality = "made", modality
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid("study", seed), uid("series", seed)
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = uid("frame", seed), ""
    dataset.SeriesNumber, dataset.InstanceNumber = 3, 100 - number
    lps = np.diag([-1, -1, 1, 1]) @ affine
    sides = np.linalg.norm(lps[:3, :3], axis=0)
    dataset.ImagePositionPatient = [f"{each:.9g}" for each in (lps[:3, 3] + lps[:3, 2] * number)]
    dataset.ImageOrientationPatient = [f"{each:.10g}" for each in (lps[:3, :2] / sides[:2]).T.flat]
    dataset.PixelSpacing = [f"{sides[1]:.9g}", f"{sides[0]:.9g}"]
    dataset.SliceThickness = f"{sides[2]:.9g}"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = plane.shape[1], plane.shape[0]
    dataset.BitsAllocated = dataset.BitsStored = plane.itemsize * 8
    dataset.HighBit, dataset.PixelRepresentation = (
        dataset.BitsStored - 1,
        int(plane.dtype.kind == "i"),
    )
    if modality == "CT":
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.PixelData = np.ascontiguousarray(plane.T).tobytes()
    return dataset
