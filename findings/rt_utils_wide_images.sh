#!/usr/bin/env bash
# rt-utils 1.2.7: a mask of an image that isn't square doesn't come back from its contours.
#
# Guess: get_roi_mask_by_name returns the mask (rows, columns, slices) that add_roi took.
# Seen:  for 24 x 24 pixels it does. For 20 rows and 24 columns the contours that are written are
#        right, but the mask comes back as 24 x 20, and what lies right of column 20 is cut off: 36
#        of 48 pixels are left, without a word. A mask further to the right comes back empty.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rt-utils==1.2.7 opencv-python==5.0.0.93 pydicom==3.0.2 \
  numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from rt_utils import RTStructBuilder

print("rt-utils", version("rt-utils"), "opencv-python", version("opencv-python"))
EMPTY = (  # what the standard wants there, if only empty
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber "
    "ReferringPhysicianName SeriesNumber Manufacturer PositionReferenceIndicator KVP "
    "AcquisitionNumber"
).split()


def write_series(folder, rows, columns):
    """Write a CT series of two slices."""
    Path(folder).mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for number in range(2):
        image = pydicom.Dataset()
        image.file_meta = pydicom.dataset.FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        for empty in EMPTY:
            setattr(image, empty, "")
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.FrameOfReferenceUID, image.InstanceNumber, image.Modality = frame, number + 1, "CT"
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.ImagePositionPatient = [0, 0, number]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.SliceThickness, image.PixelSpacing = 1, [1, 1]
        image.RescaleSlope, image.RescaleIntercept = 1, 0
        image.Rows, image.Columns, image.SamplesPerPixel = rows, columns, 1
        image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME2", 1
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
        image.PixelData = np.zeros((rows, columns), "<i2").tobytes()
        image.save_as(f"{folder}/{number}.dcm", enforce_file_format=True)


def there_and_back(rows, columns, first):
    """Return a box of 6 x 8 pixels from a column on, its corners in the file, and what is read."""
    folder = f"{rows}-{columns}-{first}"
    write_series(folder, rows, columns)
    mask = np.zeros((rows, columns, 2), bool)
    mask[3:9, first : first + 8, 1] = True
    written = RTStructBuilder.create_new(dicom_series_path=folder)
    written.add_roi(mask=mask, name="box")
    written.save(f"{folder}.dcm")
    read = RTStructBuilder.create_from(folder, f"{folder}.dcm")
    points = np.array(read.ds.ROIContourSequence[0].ContourSequence[0].ContourData).reshape(-1, 3)
    return mask, (points.min(0).tolist(), points.max(0).tolist()), read.get_roi_mask_by_name("box")


for rows, columns, first, left in ((24, 24, 14, 48), (20, 24, 14, 36), (20, 40, 30, 0)):
    mask, corners, back = there_and_back(rows, columns, first)
    print(f"mask {mask.shape} of {mask.sum()} pixels, contour from {corners[0]} to {corners[1]}")
    print(f"back {back.shape} of {back.sum()} pixels")
    assert corners == ([first, 3, 1], [first + 7, 8, 1])
    assert back.shape == (columns, rows, 2) and back.sum() == left, "this has changed"
    assert rows != columns or np.array_equal(mask, back)
PYTHON
