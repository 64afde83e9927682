#!/usr/bin/env bash
# SimpleITK 2.5.7: the slope of a DICOM series' first slice limits the values of all the others.
#
# Guess: ImageSeriesReader rescales each slice by its own slope, as ReadImage does slice by slice,
#        and picks a voxel type that holds the values of all of them.
# Seen:  the type is that of the first slice alone: 16-bit integers where its slope is 1. The later
#        slices are rescaled and then forced into it: 100,000 becomes 34,464, and 1,501.5 becomes
#        1,501. With the fractional slope first, the same slices are right. Series with a slope for
#        each slice are common in PET.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

print("SimpleITK", sitk.Version.VersionString(), "pydicom", pydicom.__version__)
study, series, frame = generate_uid(), generate_uid(), generate_uid()
EMPTY = (  # what the standard wants there, if only empty
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber "
    "ReferringPhysicianName SeriesNumber Manufacturer PositionReferenceIndicator KVP "
    "AcquisitionNumber"
).split()


def write(number, stored, slope):
    """Write a slice of 4 x 5 equal voxels and return its path."""
    slice_ = pydicom.Dataset()
    slice_.file_meta = pydicom.dataset.FileMetaDataset()
    slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for empty in EMPTY:
        setattr(slice_, empty, None)
    slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, generate_uid()
    slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, series
    slice_.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    slice_.FrameOfReferenceUID, slice_.InstanceNumber, slice_.Modality = frame, number + 1, "CT"
    slice_.ImagePositionPatient = [0, 0, 2 * number]
    slice_.ImageOrientationPatient, slice_.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
    slice_.SliceThickness, slice_.RescaleSlope, slice_.RescaleIntercept = 2, slope, 0
    slice_.Rows, slice_.Columns, slice_.SamplesPerPixel = 4, 5, 1
    slice_.PhotometricInterpretation, slice_.PixelRepresentation = "MONOCHROME2", 0
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 16, 15
    slice_.PixelData = np.full((4, 5), stored, "<u2").tobytes()
    slice_.save_as(f"{number}.dcm", enforce_file_format=True)
    return f"{number}.dcm"


def values(image):
    return sitk.GetArrayFromImage(image)[:, 0, 0].tolist()


for stored, slopes, right in (
    (1000, (1, 100), False),
    (1001, (1, 1.5), False),
    (1001, (1.5, 1), True),
):
    paths = [write(number, stored, slope) for number, slope in enumerate(slopes)]
    one_by_one = [values(sitk.ReadImage(path))[0] for path in paths]
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(paths)
    together = reader.Execute()
    print(f"{stored} by the slopes {slopes}: one by one {one_by_one}, together", end=" ")
    print(values(together), together.GetPixelIDTypeAsString())
    assert one_by_one == [stored * slope for slope in slopes]
    assert (values(together) == one_by_one) == right, "this has changed"
    assert right or together.GetPixelID() == sitk.sitkUInt16, "this has changed"
PYTHON
