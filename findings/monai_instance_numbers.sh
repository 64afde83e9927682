#!/usr/bin/env bash
# MONAI 1.6.1: PydicomReader stacks a series by its instance numbers, not by its positions.
#
# Guess: LoadImage(reader="PydicomReader") puts each slice where its ImagePositionPatient says, as
#        LoadImage(reader="ITKReader") does. The DICOM standard gives instance numbers no order in
#        space, and interleaved acquisitions are numbered in the order of time.
# Seen:  with instance numbers 1, 4, 2, 5, 3 from the lowest slice to the highest the volume's
#        slices come in the order of the numbers, under an affine that holds for none but the
#        first and the last: it has them 1.5 mm apart instead of 2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet monai==1.6.1 torch==2.13.0 pydicom==3.0.2 itk-io==5.4.7 \
    numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import pathlib

import monai
import numpy as np
import pydicom
from monai.transforms import LoadImage
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

print("MONAI", monai.__version__, "pydicom", pydicom.__version__)
EMPTY = (  # what the standard wants there, if only empty
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber "
    "ReferringPhysicianName SeriesNumber Manufacturer PositionReferenceIndicator KVP "
    "AcquisitionNumber"
).split()


def series(folder, numbers):
    """Write a CT series, 2 mm between slices, whose voxels hold the height of their slice."""
    pathlib.Path(folder).mkdir()
    study, series_, frame = generate_uid(), generate_uid(), generate_uid()
    for place, number in enumerate(numbers):
        slice_ = pydicom.Dataset()
        slice_.file_meta = pydicom.dataset.FileMetaDataset()
        slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        for empty in EMPTY:
            setattr(slice_, empty, None)
        slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, generate_uid()
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, series_
        slice_.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        slice_.FrameOfReferenceUID, slice_.InstanceNumber, slice_.Modality = frame, number, "CT"
        slice_.ImagePositionPatient = [0, 0, 2 * place]
        slice_.ImageOrientationPatient, slice_.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
        slice_.SliceThickness, slice_.RescaleSlope, slice_.RescaleIntercept = 2, 1, 0
        slice_.Rows, slice_.Columns, slice_.SamplesPerPixel = 4, 4, 1
        slice_.PhotometricInterpretation, slice_.PixelRepresentation = "MONOCHROME2", 1
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 16, 15
        slice_.PixelData = np.full((4, 4), 2 * place, "<i2").tobytes()
        slice_.save_as(f"{folder}/{place}.dcm", enforce_file_format=True)


for folder, numbers in (("rising", [1, 2, 3, 4, 5]), ("interleaved", [1, 4, 2, 5, 3])):
    series(folder, numbers)
    for reader in ("ITKReader", "PydicomReader"):
        image = LoadImage(reader=reader, image_only=True)(folder)
        held = image[0, 0].numpy()
        said = image.affine.numpy()[2, 3] + image.affine.numpy()[2, 2] * np.arange(5)
        print(f"{folder}, {reader}: slices {held.tolist()} are said to be at {said.tolist()}")
        if (folder, reader) == ("interleaved", "PydicomReader"):
            assert held.tolist() == [0, 4, 8, 2, 6], "this has changed"
            assert said.tolist() == [0, 1.5, 3, 4.5, 6], "this has changed"
        else:
            assert np.allclose(held, said)
PYTHON
