#!/usr/bin/env bash
# SimpleITK 2.5.7 and dcm2niix 1.0.20260724: the pixels of a calibrated radiograph have two sizes.
#
# Guess: both use Pixel Spacing, which for radiographs is the size in the patient after calibration,
#        and fall back to Imager Pixel Spacing, the size on the detector.
# Seen:  dcm2niix knows only Pixel Spacing, SimpleITK (for radiographs) only the detector's. Each
#        says 1 mm if a file has just the other one, without a word. A heart 120 mm wide is 240 mm
#        wide, or 1,200 mm. For CT both use Pixel Spacing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 dcm2niix==1.0.20260724 pydicom==3.0.2 \
  nibabel==5.4.2 numpy==2.4.6
cd "$folder"
PATH="$folder/venv/bin:$PATH" "$folder/venv/bin/python" - <<'PYTHON'
import subprocess
from importlib.metadata import version

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.uid import ComputedRadiographyImageStorage, CTImageStorage
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

print("SimpleITK", sitk.Version.VersionString(), "dcm2niix", version("dcm2niix"))
EMPTY = (  # what the standard wants there, if only empty
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber "
    "ReferringPhysicianName SeriesNumber Manufacturer BodyPartExamined ViewPosition "
    "PatientOrientation PositionReferenceIndicator KVP AcquisitionNumber"
).split()


def spacings(class_, modality, **sizes):
    """Write an image with these pixel sizes and return SimpleITK's and dcm2niix's spacing."""
    image = pydicom.Dataset()
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for empty in EMPTY:
        setattr(image, empty, None)
    image.SOPClassUID, image.SOPInstanceUID = class_, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.FrameOfReferenceUID, image.InstanceNumber = generate_uid(), 1
    image.Modality, image.ImageType = modality, ["ORIGINAL", "PRIMARY", "AXIAL"]
    if modality == "CT":
        image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
        image.SliceThickness = 1
    image.RescaleSlope, image.RescaleIntercept = 1, 0
    for name, size in sizes.items():
        setattr(image, name, [size, size])
    if "PixelSpacing" in sizes and modality == "CR":
        image.PixelSpacingCalibrationType = "FIDUCIAL"
    image.Rows, image.Columns, image.SamplesPerPixel = 4, 5, 1
    image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelData = np.arange(20, dtype="<u2").tobytes()
    image.save_as("image.dcm", enforce_file_format=True)
    subprocess.run(
        "dcm2niix -s y -w 1 -b n -f image -o . image.dcm".split(), check=True, capture_output=True
    )
    zooms = nibabel.load("image.nii").header.get_zooms()
    return sitk.ReadImage("image.dcm").GetSpacing()[0], round(float(zooms[0]), 3)


for class_, modality, sizes, expected in (
    (ComputedRadiographyImageStorage, "CR", {"PixelSpacing": 0.1}, (1.0, 0.1)),
    (
        ComputedRadiographyImageStorage,
        "CR",
        {"PixelSpacing": 0.1, "ImagerPixelSpacing": 0.2},
        (0.2, 0.1),
    ),
    (ComputedRadiographyImageStorage, "CR", {"ImagerPixelSpacing": 0.2}, (0.2, 1.0)),
    (CTImageStorage, "CT", {"PixelSpacing": 0.1}, (0.1, 0.1)),
):
    seen = spacings(class_, modality, **sizes)
    print(modality, sizes, "SimpleITK %s mm, dcm2niix %s mm" % seen)
    assert seen == expected, "this has changed"
PYTHON
