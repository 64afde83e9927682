"""The slices of a DICOM series: their tags, and which series of a folder is the scan.

Of each file only the tags below are read: no name, number or date of a patient.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import fail
from crossview.core.text import count, first_few
from crossview.data.io.dicom_files import damage_named, file_content, opened, unwarned
from crossview.data.io.extras import need
from crossview.data.io.scan import COPY_AGAIN

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of DICOM SEG: segments one by one, and as a map of labels."""

LITTLE, DEFLATED = "little endian", "deflated"
"""Keys of how a file is written, next to its tags."""

DEFLATED_SYNTAX = "1.2.840.10008.1.2.1.99"
"""Transfer syntax of a data set that is compressed as a whole."""

DICOMDIR = "1.2.840.10008.1.3.10"
"""Class of a file that lists others."""

CHOICE = "series.txt"
"""File in a folder of several series that names the scan: by UID, or by one of its files."""

TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality"),
    *("FrameOfReferenceUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("EchoTime", "TemporalPositionIdentifier", "AcquisitionNumber", "TriggerTime"),
    *("DiffusionBValue", "ImageType", "InversionTime"),
)
"""Keywords of the tags that are read."""


Tags = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Slice:
    """One image of a series: a file, or a frame of it.

    Attributes:
        file: Name of the file in its folder or zip file.
        frame: Number of the frame, 0 in a file of one.
        tags: The values of the file's tags, by keyword.
        place: Position of the first voxel's centre in mm (3), to left, back and head.
        axes: Directions of rows and columns (2, 3).
        sides: Distance of neighbours along a row and along a column, in mm (2).
        thickness: Distance to a neighbouring slice as the file states it, in mm, 0 if it does not.
        slope, intercept: From a stored number to a value.
    """

    file: str
    frame: int
    tags: Tags = field(repr=False)
    place: NDArray[np.float64]
    axes: NDArray[np.float64]
    sides: NDArray[np.float64]
    thickness: float
    slope: float = 1.0
    intercept: float = 0.0


def read_tags(path: Path) -> list[tuple[str, Tags]]:
    """Return the names of the DICOM files of a series and their tags, in the order of names.

    UserError if there is none, a file is damaged, or the extra is not installed.
    """
    pydicom = need("pydicom", "dicom")
    found: list[tuple[str, Tags]] = []
    with opened(path) as files:
        for name, stream in files:
            with damage_named(path, name), unwarned():
                tags = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=TAGS)
                # pydicom converts, and checks, a value when it is asked for.
                values = {key: tags[key].value for key in TAGS if key in tags}
                kind = values.get("SOPClassUID", tags.file_meta.get("MediaStorageSOPClassUID"))
                found.append(
                    (
                        name,
                        {
                            **values,
                            "SOPClassUID": str(kind or ""),
                            LITTLE: tags.original_encoding[1],
                            DEFLATED: tags.file_meta.get("TransferSyntaxUID") == DEFLATED_SYNTAX,
                        },
                    )
                )
    if not found:
        fail(
            "no DICOM file was found",
            path,
            found="no files of DICOM content",
            expected="the files of one series",
            fix="copy the series there",
        )
    return found


def slices_of(path: Path) -> list[Slice]:
    """Return the slices of the one series of a folder or file, in the order of files and frames.

    Objects without pixels (reports, structure sets, DICOMDIR), segmentations, and images without a
    place in space next to images that have one (screenshots, dose reports) are left out. UserError
    if nothing remains, or several series of which ``CHOICE`` names none.
    """
    series: dict[str, list[tuple[str, Tags]]] = {}
    others: list[tuple[str, Tags]] = []
    for name, tags in read_tags(path):
        if tags["SOPClassUID"] in (*SEGMENTATIONS, DICOMDIR):
            continue
        if _is_placed(tags):
            series.setdefault(str(tags.get("SeriesInstanceUID", "")), []).append((name, tags))
        else:
            others.append((name, tags))
    if not series:
        fail(
            "the DICOM images have no place in space",
            path,
            found=first_few([f"{name} ({tags.get('Modality', '?')})" for name, tags in others])
            or "segmentations",
            expected="slices with position, orientation and pixel spacing, as of CT, MR or PET",
            fix="give the series of slices; save single X-ray images as PNG or TIFF",
        )
    uid = _chosen(path, series)
    files = series[uid]
    _check_whole(path, others, uid, {tags["SOPClassUID"] for _, tags in files})
    with damage_named(path, ""), unwarned():
        return [each for name, tags in files for each in _slices(name, tags)]


def _check_whole(
    path: Path, others: Sequence[tuple[str, Tags]], series: str, kinds: Collection[str]
) -> None:
    """Raise UserError if a file that is left out is a damaged slice."""
    for name, tags in others:
        uid = str(tags.get("SeriesInstanceUID", ""))
        headless = tags["SOPClassUID"] in kinds and "Rows" not in tags
        if uid in ("", series) or headless:
            fail(
                "a DICOM file is cut off, damaged or not DICOM",
                f"{path}/{name}",
                found="a slice without size or place",
                expected="a complete DICOM file",
                fix=COPY_AGAIN,
            )


def _is_placed(tags: Tags) -> bool:
    """True if each image of a file has a place in space. A film's frames share one, or none."""
    if not {"Rows", "Columns"} <= tags.keys():
        return False
    if "PerFrameFunctionalGroupsSequence" in tags:
        return True
    placed = {"ImagePositionPatient", "PixelSpacing"} <= tags.keys()
    return placed and (tags.get("NumberOfFrames") or 1) == 1


def _chosen(path: Path, series: Mapping[str, Sequence[tuple[str, Tags]]]) -> str:
    """Return the UID of the one series, or of the one that the folder's ``CHOICE`` names."""
    wanted = _choice(path)
    uids = [
        uid
        for uid, files in series.items()
        if wanted in ("", uid) or wanted in (name for name, _ in files)
    ]
    if len(uids) == 1:
        return uids[0]
    found = [
        f"{tags.get('Modality', '')} series {tags.get('SeriesNumber') or '?'}: "
        f"{count(len(files), 'file')}, from {name}"
        for files in series.values()
        for name, tags in files[:1]
    ]
    listed = "; ".join(found[:6]) + ("; ..." if len(found) > 6 else "")
    if wanted:
        fail(
            f"{CHOICE} names no series of the scan",
            path / CHOICE,
            found=first_few([wanted]),
            expected=f"a SeriesInstanceUID, or the name of one of its files: {listed}",
        )
    fail(
        f"the {'folder' if path.is_dir() else 'zip file'} holds {len(series)} DICOM series",
        path,
        found=listed,
        expected="the files of one series",
        fix="write the name of one of its files, or its SeriesInstanceUID, into "
        f"{CHOICE} there, or keep the files of one series",
    )


def _choice(path: Path) -> str:
    """Return what ``CHOICE`` in a folder or zip file names, "" without such a file."""
    try:
        content = file_content(path, CHOICE)
        return "" if content is None else content.decode("utf-8-sig").strip()
    except Exception as error:  # zipfile raises a dozen types
        fail(f"{CHOICE} can't be read", path / CHOICE, found=error, fix="write it again")


def _slices(name: str, tags: Tags) -> Iterator[Slice]:
    """Yield the slice of a file, or those of its frames."""
    groups = tags.get("PerFrameFunctionalGroupsSequence")
    if groups is None:
        yield _slice(name, 0, tags, tags, tags, tags, tags)
        return
    shared = (tags.get("SharedFunctionalGroupsSequence") or [{}])[0]

    def macro(group: Any, keyword: str) -> Any:
        return (group.get(keyword) or shared.get(keyword) or [{}])[0]

    for number, group in enumerate(groups):
        yield _slice(
            name,
            number,
            tags,
            macro(group, "PlanePositionSequence"),
            macro(group, "PlaneOrientationSequence"),
            macro(group, "PixelMeasuresSequence"),
            macro(group, "PixelValueTransformationSequence"),
        )


def _slice(
    name: str, frame: int, tags: Tags, place: Any, turn: Any, measures: Any, values: Any
) -> Slice:
    rows, columns = _numbers(measures, "PixelSpacing", 2)
    slope, intercept = values.get("RescaleSlope"), values.get("RescaleIntercept")
    return Slice(
        name,
        frame,
        tags,
        _numbers(place, "ImagePositionPatient", 3),
        _numbers(turn, "ImageOrientationPatient", 6).reshape(2, 3),
        np.array([columns, rows]),
        float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0),
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
    )


def _numbers(tags: Any, keyword: str, length: int) -> NDArray[np.float64]:
    """Return the numbers of a tag. ValueError if it is missing or another length."""
    value = tags.get(keyword)
    numbers = np.array([] if value is None else list(value), np.float64)
    if numbers.shape != (length,) or not np.isfinite(numbers).all():
        raise ValueError(f"{keyword} holds {len(numbers)} numbers instead of {length}")
    return numbers
