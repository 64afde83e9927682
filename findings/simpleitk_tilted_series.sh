#!/usr/bin/env bash
# SimpleITK 2.5.7: a CT series with a tilted gantry is read as an upright box, without a warning.
#
# Guess: ImageSeriesReader, which warns of unequal slice distances, also warns of slices that are
#        shifted within their plane, or refuses them, as no rotation describes them.
# Seen:  no word. The slices, 2 mm apart and each shifted by 1 mm, are stacked at right angles, and
#        their distance becomes sqrt(2^2 + 1^2) = 2.24 mm. The last of 21 slices lies 20 mm beside
#        and 4.7 mm above its ImagePositionPatient, and volumes are 12 % too large.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' 2>&1 | tee log
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

print("SimpleITK", sitk.Version.VersionString(), "pydicom", pydicom.__version__)
EMPTY = (  # what the standard wants there, if only empty
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber "
    "ReferringPhysicianName SeriesNumber Manufacturer PositionReferenceIndicator KVP "
    "AcquisitionNumber"
).split()
study, series, frame = generate_uid(), generate_uid(), generate_uid()
slices = 21
for number in range(slices):
    slice_ = pydicom.Dataset()
    slice_.file_meta = pydicom.dataset.FileMetaDataset()
    slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for empty in EMPTY:
        setattr(slice_, empty, None)
    slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, generate_uid()
    slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, series
    slice_.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    slice_.FrameOfReferenceUID, slice_.InstanceNumber, slice_.Modality = frame, number + 1, "CT"
    slice_.GantryDetectorTilt = round(float(np.degrees(np.arctan2(1, 2))), 3)
    slice_.ImagePositionPatient = [0, -number, 2 * number]
    slice_.ImageOrientationPatient, slice_.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
    slice_.SliceThickness, slice_.RescaleSlope, slice_.RescaleIntercept = 2, 1, 0
    slice_.Rows, slice_.Columns, slice_.SamplesPerPixel = 4, 5, 1
    slice_.PhotometricInterpretation, slice_.PixelRepresentation = "MONOCHROME2", 1
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 16, 15
    slice_.PixelData = np.zeros((4, 5), "<i2").tobytes()
    slice_.save_as(f"{number:02}.dcm", enforce_file_format=True)

reader = sitk.ImageSeriesReader()
reader.SetFileNames(reader.GetGDCMSeriesFileNames("."))
image = reader.Execute()
last = np.array(image.TransformIndexToPhysicalPoint((0, 0, slices - 1)))
print("spacing", image.GetSpacing(), "direction", image.GetDirection())
print("first voxel of the last slice", last, "by its header", slice_.ImagePositionPatient)
assert np.allclose(image.GetSpacing(), (1, 1, 5**0.5)), "this has changed"
assert np.allclose(image.GetDirection(), np.eye(3).ravel()), "this has changed"
assert np.allclose(last - np.array(slice_.ImagePositionPatient, float), (0, 20, 20 * 5**0.5 - 40))
PYTHON
if grep -qi warning log; then echo "this has changed: it warns"; exit 1; fi
