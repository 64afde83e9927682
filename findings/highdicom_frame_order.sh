#!/usr/bin/env bash
# highdicom 0.28.2: the frames of a DICOM segmentation come in the reverse order of its mask.
#
# Guess: Segmentation(slices, mask) stores mask[0] as the first frame, so pixel_array of the file is
#        the mask, as far as no frame is empty.
# Seen:  for axial slices given from low to high z, the usual order, the frames are stored from high
#        to low z: pixel_array is the mask upside down, and so is the array of get_volume(). Given
#        from high to low, the order is kept. Positions are stored rightly, and
#        get_pixels_by_source_instance gives the mask. A reader that pairs frames with slices by
#        number gets a flipped mask.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet highdicom==0.28.2 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import highdicom
import numpy as np
import pydicom
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

print("highdicom", highdicom.__version__, "pydicom", pydicom.__version__)
EMPTY = (  # what the standard wants there, if only empty
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber "
    "ReferringPhysicianName SeriesNumber Manufacturer PositionReferenceIndicator KVP "
    "AcquisitionNumber"
).split()


def series(heights):
    """Return a CT series with slices at these heights."""
    study, series_, frame = generate_uid(), generate_uid(), generate_uid()
    slices = []
    for number, height in enumerate(heights):
        image = pydicom.Dataset()
        image.file_meta = pydicom.dataset.FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        for empty in EMPTY:
            setattr(image, empty, None)
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series_
        image.FrameOfReferenceUID, image.InstanceNumber, image.Modality = frame, number + 1, "CT"
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.ImagePositionPatient = [0, 0, height]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.SliceThickness, image.PixelSpacing = 2, [1, 1]
        image.RescaleSlope, image.RescaleIntercept = 1, 0
        image.Rows, image.Columns, image.SamplesPerPixel = 4, 4, 1
        image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME2", 1
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
        image.PixelData = np.zeros((4, 4), "<i2").tobytes()
        slices.append(image)
    return slices


mask = np.zeros((3, 4, 4), np.uint8)
for number in range(3):
    mask[number, 0, : number + 1] = 1  # 1, 2 and 3 pixels
tissue = SegmentDescription(
    segment_number=1,
    segment_label="tissue",
    segmented_property_category=codes.cid7150.Tissue,
    segmented_property_type=codes.cid7166.ConnectiveTissue,
    algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
)
for heights, kept in (([0, 2, 4], False), ([4, 2, 0], True)):
    slices = series(heights)
    highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=mask,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[tissue],
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="none",
        manufacturer_model_name="none",
        software_versions="1",
        device_serial_number="1",
    ).save_as("mask.dcm")
    file, read = pydicom.dcmread("mask.dcm"), highdicom.seg.segread("mask.dcm")
    positions = [
        float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        for frame in file.PerFrameFunctionalGroupsSequence
    ]
    frames, volume = file.pixel_array, read.get_volume(combine_segments=True).array
    by_slice = read.get_pixels_by_source_instance([each.SOPInstanceUID for each in slices])
    print(f"slices at {heights}: frames at {positions}; pixels: mask {mask.sum((1, 2))}", end=", ")
    print(f"pixel_array {frames.sum((1, 2))}, get_volume {volume.sum((1, 2))}")
    right = mask if kept else mask[::-1]
    assert np.array_equal(frames, right) and np.array_equal(volume, right), "this has changed"
    assert positions == [4, 2, 0], "this has changed"
    assert np.array_equal(by_slice[..., 0], mask)
PYTHON
