"""DICOM series as scans: a folder of files, a zip file of them, or one multi-frame file.

Values are those of the modality (Hounsfield units for CT): stored numbers by each slice's own slope
and intercept. Tags that say how to show an image change nothing, MONOCHROME1 included.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import fail
from crossview.data.io.dicom_files import (
    SUFFIXES,
    Slice,
    damage_named,
    opened,
    slices_of,
    unwarned,
)
from crossview.data.io.dicom_geometry import Series, stacked
from crossview.data.io.extras import need
from crossview.data.io.geometry import Header
from crossview.data.io.scan import Scan, check_finite

__all__ = ["SUFFIXES", "read", "read_header"]

FIX = "resample them to one grid"


def read_header(path: Path) -> Header:
    """Return the grid of a series, from the tags of its slices.

    UserError for files that are damaged, of several series, or on no regular grid.
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
    series = stacked(path, slices)
    return Header(series.shape, 1, series.affine, series)


def read(files: Sequence[Path], channels: int) -> Scan:
    """Read a scan from one series, or from one series per channel on one grid.

    Channels whose axes are stored in another order or direction are turned to the first one's.
    UserError as for :func:`read_header`, and for pixels that can't be decoded or are NaN.
    """
    headers = [read_header(file) for file in files]
    turns = [
        headers[0].turn_of(header, files[0], file, "the channels of a scan", FIX)
        for header, file in zip(headers[1:], files[1:], strict=True)
    ]
    parts = [values(header.native) for header in headers]
    parts[1:] = [turn.apply(part) for turn, part in zip(turns, parts[1:], strict=True)]
    for part, file in zip(parts, files, strict=True):
        check_finite(part, file)
    return Scan(parts[0][None] if len(parts) == 1 else np.stack(parts), headers[0])


def values(series: Series) -> NDArray[np.float32]:
    """Return the values of a series, float32 (columns, rows, slices)."""
    columns, rows, _ = series.shape
    result = np.empty((len(series.slices), rows, columns), np.float32)
    of_file: dict[str, list[tuple[int, Slice]]] = {}
    for number, each in enumerate(series.slices):
        of_file.setdefault(each.file, []).append((number, each))
    with opened(series.path) as files:
        for name, stream in files:
            if name not in of_file:
                continue
            with damage_named(series.path, name), unwarned():
                frames = _pixels(stream).reshape(-1, rows, columns)
                for number, each in of_file.pop(name):
                    result[number] = _scaled(frames[each.frame], each)
    return result.transpose(2, 1, 0)


def _pixels(stream: IO[bytes]) -> NDArray[Any]:
    """Return the stored numbers of a file, decoded."""
    pixels: NDArray[Any] = need("pydicom.pixels", "dicom").pixel_array(stream, raw=True)
    return pixels


def _scaled(stored: NDArray[Any], of: Slice) -> NDArray[np.float64]:
    """Return the values of a slice."""
    if "ModalityLUTSequence" in of.tags:
        looked_up: NDArray[Any] = need("pydicom.pixels", "dicom").apply_modality_lut(
            stored, of.tags
        )
        return looked_up.astype(np.float64)
    scaled: NDArray[np.float64] = stored.astype(np.float64) * of.slope + of.intercept
    return scaled
