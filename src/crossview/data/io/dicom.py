"""DICOM series as scans: a folder of files, a zip file of them, or one multi-frame file.

Values are those of the modality (Hounsfield units for CT): stored numbers by each slice's own slope
and intercept. Tags that say how to show an image change nothing, MONOCHROME1 included.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import fail
from crossview.data.io import dicom_files
from crossview.data.io.dicom_files import FOLDER, damage_named, unwarned
from crossview.data.io.dicom_geometry import Series, stacked
from crossview.data.io.dicom_slices import DEFLATED, LITTLE, Slice, slices_of
from crossview.data.io.extras import need
from crossview.data.io.geometry import Header
from crossview.data.io.scan import check_finite

SUFFIXES = (".dcm", ".zip", FOLDER)

MODULE, EXTRA = "pydicom", "dicom"


@dataclass(frozen=True, eq=False)
class DicomVolume:
    """A series as a volume."""

    series: Series
    step = 0.0

    @property
    def header(self) -> Header:
        return Header(self.series.shape, 1, self.series.affine, self.series)

    def values(self, channels: int, noun: str = "scan") -> NDArray[np.float32]:
        if channels != 1:
            fail(
                "the scan has the wrong number of channels",
                self.series.path,
                found="1, a DICOM series",
                expected=channels,
                fix="give one series per channel: folders <case>_0000, <case>_0001, ...",
            )
        values = _values(self.series)
        check_finite(values, self.series.path, noun)
        return values[None]


def opened(path: Path) -> DicomVolume:
    """Read the tags of a series' slices.

    UserError for files that are damaged, of several series, in colour, or on no regular grid.
    """
    slices = slices_of(path)
    if path.suffix.lower() == ".dcm" and path.is_file() and len(slices) == 1:
        fail(
            "the file is a single slice of a DICOM series",
            path,
            found="one image",
            expected="a folder or zip file with all slices of the scan, or a multi-frame file",
            fix="give the slices of each scan a folder of their own",
        )
    if any(each.tags.get("SamplesPerPixel", 1) != 1 for each in slices):
        fail(
            "the DICOM images are in colour",
            path,
            found="several samples per pixel",
            expected="one",
            fix="use the grey images of the scan",
        )
    return DicomVolume(stacked(path, slices))


def _values(series: Series) -> NDArray[np.float32]:
    """Return the values of a series, float32 (columns, rows, slices)."""
    columns, rows, _ = series.shape
    result = np.empty((len(series.slices), rows, columns), np.float32)
    of_file: dict[str, list[tuple[int, Slice]]] = {}
    for number, each in enumerate(series.slices):
        of_file.setdefault(each.file, []).append((number, each))
    with dicom_files.opened(series.path) as files:
        for name, stream in files:
            if name not in of_file:
                continue
            with damage_named(series.path, name), unwarned():
                of_name = of_file.pop(name)
                frames = _pixels(stream, of_name[0][1].tags[DEFLATED])
                frames = frames.reshape(-1, rows, columns)
                for number, each in of_name:
                    result[number] = _scaled(frames[each.frame], each)
    return result.transpose(2, 1, 0)


def _pixels(stream: IO[bytes], deflated: bool) -> NDArray[Any]:
    """Return the stored numbers of a file, decoded."""
    # pydicom finds no pixels in a deflated stream, unless it has read the whole data set.
    source = need("pydicom", EXTRA).dcmread(stream) if deflated else stream
    pixels: NDArray[Any] = need("pydicom.pixels", EXTRA).pixel_array(source, raw=True)
    return pixels


def _scaled(stored: NDArray[Any], of: Slice) -> NDArray[np.float64]:
    """Return the values of a slice."""
    if "ModalityLUTSequence" in of.tags:
        tags = need("pydicom.dataset", EXTRA).Dataset()
        tags.ModalityLUTSequence = of.tags["ModalityLUTSequence"]
        tags.set_original_encoding(False, of.tags[LITTLE])
        looked_up: NDArray[Any] = need("pydicom.pixels", EXTRA).apply_modality_lut(stored, tags)
        return looked_up.astype(np.float64)
    scaled: NDArray[np.float64] = stored.astype(np.float64) * of.slope + of.intercept
    return scaled
