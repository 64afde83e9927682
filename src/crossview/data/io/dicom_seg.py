"""Predictions as DICOM SEG, and DICOM SEG as labels.

A SEG belongs to its source: it shares the study, the patient and the frame of reference, and each
of its frames names the image that it was made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.environment import VERSION
from crossview.core.errors import fail
from crossview.core.files import written_whole
from crossview.data.io.dicom_files import damage_named, opened, unwarned
from crossview.data.io.dicom_geometry import TO_RAS, Series
from crossview.data.io.dicom_slices import SEGMENTATIONS, read_tags
from crossview.data.io.extras import need
from crossview.data.io.geometry import Header
from crossview.data.io.palette import Colour

LONGEST_LABEL = 64
"""Characters of a segment's label."""

MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "PositionReferenceIndicator"),
)
"""Tags of the source that its SEG repeats, empty if need be."""


def write(
    path: Path,
    label: NDArray[np.uint8],
    header: Header,
    names: Mapping[int, str],
    colours: Mapping[int, Colour],
    method: str = "crossview",
) -> None:
    """Write a label on the grid of a series as DICOM SEG, one segment per class.

    The SEG holds what the standard demands of its source: the patient's and the study's tags.

    Args:
        path: The file.
        label: Values (columns, rows, slices).
        header: The scan's, a series.
        names: Name of each value but the background's, in the order of the segments.
        colours: Red, green and blue of each, 0 to 255.
        method: Name of the method that made the label.

    Raises:
        UserError: If the series states no frame of reference.
    """
    highdicom = need("highdicom", "dicom")
    sources, order = _sources(header.native)
    masks = np.zeros((len(order), *label.shape[1::-1]), np.uint8)
    for number, value in enumerate(names, 1):
        masks[(label == value).T[order]] = number
    with unwarned(), written_whole(path) as part:
        segmentation = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=masks,
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _description(number, names[value], colours[value], method)
                for number, value in enumerate(names, 1)
            ],
            series_instance_uid=highdicom.UID(),
            series_number=100,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="crossview",
            manufacturer_model_name="crossview",
            software_versions=VERSION,
            device_serial_number="1",
            omit_empty_frames=bool(masks.any()),
            content_label="SEGMENTATION",
            series_description=f"Segmentation by {method}"[:LONGEST_LABEL],
        )
        # highdicom copies the scanner's station and hospital there.
        segmentation.pop("ContributingEquipmentSequence", None)
        segmentation.save_as(part)


def _sources(series: Series) -> tuple[list[Any], NDArray[np.intp]]:
    """Return the images of a series without pixels, and for each the number of its slice."""
    pydicom = need("pydicom", "dicom")
    number_of = {(each.file, each.frame): n for n, each in enumerate(series.slices)}
    names = {each.file for each in series.slices}
    sources, order = [], []
    with opened(series.path) as files:
        for name, stream in files:
            if name in names:
                with damage_named(series.path, name), unwarned():
                    sources.append(pydicom.dcmread(stream, stop_before_pixels=True))
                frames = sorted(frame for file, frame in number_of if file == name)
                order += [number_of[name, frame] for frame in frames]
    if not series.frame_of_reference:
        fail(
            "a DICOM SEG can't be written for this series",
            series.path,
            found="no frame of reference",
            expected="FrameOfReferenceUID, by which viewers place the segments",
            fix="write the prediction in another format",
        )
    for source, keyword in product(sources, MAY_BE_EMPTY):
        if keyword not in source:  # anonymised files lack tags that must be there, though empty
            setattr(source, keyword, "")
    return sources, np.array(order)


def _description(number: int, name: str, colour: Colour, method: str) -> Any:
    """Return a segment. Its code is that of an unspecified tissue: its label says what it is."""
    highdicom = need("highdicom", "dicom")
    codes = need("pydicom.sr.codedict", "dicom").codes
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:LONGEST_LABEL],
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Tissue,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=method, family=codes.DCM.ArtificialIntelligence, version=VERSION
        ),
        display_color=highdicom.color.CIELabColor.from_rgb(*colour),
    )


def names(path: Path) -> tuple[str, ...]:
    """Return the labels of the segments of a SEG. UserError if it is damaged or no SEG."""
    pydicom = need("pydicom", "dicom")
    wanted, _ = _only_seg(path)
    with opened(path) as files, damage_named(path, wanted), unwarned():
        stream = next(stream for name, stream in files if name == wanted)
        tags = pydicom.dcmread(stream, specific_tags=["SegmentSequence"], stop_before_pixels=True)
        return tuple(str(each.SegmentLabel).strip() for each in tags.SegmentSequence)


def read(path: Path, header: Header) -> tuple[tuple[str, ...], list[NDArray[np.uint8]]]:
    """Read a SEG on the grid of its scan.

    Args:
        path: The file, or a folder or zip file with this file alone.
        header: The scan's.

    Returns:
        The labels of the segments, and arrays as the scan is stored that hold 1 for the first
        segment, 2 for the second, ...; one array, or one per segment if segments overlap.

    Raises:
        UserError: If it is damaged or no SEG, in another frame of reference, or on another grid.
    """
    highdicom = need("highdicom", "dicom")
    name, _ = _only_seg(path)
    with opened(path) as files, damage_named(path, name), unwarned():
        stream = next(stream for each, stream in files if each == name)
        segmentation = highdicom.seg.segread(stream)
        _check_space(path, segmentation, header)
        volume, layers = _layers(segmentation)
    axes = [2, 1, 0]  # highdicom counts slices, rows, columns
    affine = TO_RAS @ volume.affine[:, [*axes, 3]]
    return names(path), [header.placed(each.transpose(axes), affine, path) for each in layers]


def _layers(segmentation: Any) -> tuple[Any, list[NDArray[np.uint8]]]:
    """Return the volume of a SEG, and its segments' numbers in as many arrays as needed."""
    try:
        volume = segmentation.get_volume(combine_segments=True, relabel=True, dtype=np.uint8)
        return volume, [volume.array]
    except RuntimeError as error:
        if "overlap" not in str(error).lower():
            raise
    volume = segmentation.get_volume(dtype=np.uint8)
    masks = np.moveaxis(volume.array, -1, 0)
    return volume, [(mask > 0) * np.uint8(number) for number, mask in enumerate(masks, 1)]


def _only_seg(path: Path) -> tuple[str, Any]:
    """Return the name and the tags of the one SEG. UserError if there is none or several."""
    found = [
        (name, tags) for name, tags in read_tags(path) if tags.get("SOPClassUID") in SEGMENTATIONS
    ]
    if len(found) == 1:
        return found[0]
    fail(
        "the label is not one DICOM SEG",
        path,
        found=f"{len(found)} segmentations",
        expected="one DICOM file of modality SEG",
        fix="export the label as DICOM SEG, .seg.nrrd or NIfTI (RTSTRUCT contours are not read)",
    )


def _check_space(path: Path, segmentation: Any, header: Header) -> None:
    """Raise UserError if a SEG and its scan are in different frames of reference."""
    of_scan = header.native.frame_of_reference if isinstance(header.native, Series) else ""
    of_label = str(segmentation.get("FrameOfReferenceUID", ""))
    if of_scan and of_label and of_scan != of_label:
        fail(
            "scan and label are in different frames of reference",
            path,
            found="another FrameOfReferenceUID than that of the scan",
            expected="the same",
            fix="use the label that was drawn on this series",
        )
