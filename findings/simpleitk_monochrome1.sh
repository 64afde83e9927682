#!/usr/bin/env bash
# SimpleITK 2.5.7 and pydicom 3.0.2: MONOCHROME1 turns the values of a DICOM image in one only.
#
# Guess: the photometric interpretation says how values are displayed and leaves them alone, so
#        both libraries give value = slope * stored + intercept, as for MONOCHROME2.
# Seen:  pydicom does. SimpleITK gives slope * (highest - stored) + intercept, where the highest is
#        4,095 for 12 stored bits: what is rescaled is no longer what is stored. A threshold, a
#        window or a network made for one reader's values fails on the other's.
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
from pydicom.pixels import apply_modality_lut
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

print("SimpleITK", sitk.Version.VersionString(), "pydicom", pydicom.__version__)
stored, slope, intercept = np.array([[0, 1, 100, 4095]], "<u2"), 2, -10
EMPTY = (  # what the standard wants there, if only empty
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber "
    "ReferringPhysicianName SeriesNumber InstanceNumber Manufacturer BodyPartExamined ViewPosition "
    "PatientOrientation"
).split()


def write(path, interpretation):
    image = pydicom.Dataset()
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for empty in EMPTY:
        setattr(image, empty, None)
    image.SOPClassUID, image.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.Modality, image.RescaleSlope, image.RescaleIntercept = "CR", slope, intercept
    image.Rows, image.Columns, image.SamplesPerPixel = 1, 4, 1
    image.PhotometricInterpretation, image.PixelRepresentation = interpretation, 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelData = stored.tobytes()
    image.save_as(path, enforce_file_format=True)


rescaled, turned = slope * stored.astype(int) + intercept, slope * (4095 - stored.astype(int)) - 10
for interpretation, expected in (("MONOCHROME2", rescaled), ("MONOCHROME1", turned)):
    write("image.dcm", interpretation)
    dataset = pydicom.dcmread("image.dcm")
    ours = apply_modality_lut(dataset.pixel_array, dataset)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage("image.dcm"))
    print(interpretation, "pydicom", ours.ravel().tolist(), "SimpleITK", theirs.ravel().tolist())
    assert np.array_equal(ours, rescaled), "this has changed"
    assert np.array_equal(theirs.reshape(1, 4), expected), "this has changed"
PYTHON
