"""Formats of predicted labels that users ask for, most with each class by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import fail, nearest
from crossview.data.io import dicom, dicom_seg, metaimage, nifti, nrrd, seg_nrrd
from crossview.data.io.extras import need
from crossview.data.io.geometry import Header
from crossview.data.io.palette import Colour, colours_of
from crossview.data.io.volumes import Stored


@dataclass(frozen=True)
class Named:
    """A format of labels by name.

    Attributes:
        suffix: Of its files.
        source: Name of the only format of scans that it is written for, "" for all.
        module: The library that writes it.
        extra: The extra with that library.
        write: Writes a label as its scan is stored, on the scan's grid, given the names of values,
            their colours and the name of the method. The file is complete or absent.
    """

    suffix: str
    source: str
    module: str
    extra: str
    write: Callable[
        [Path, NDArray[np.uint8], Header, Mapping[int, str], Mapping[int, Colour], str],
        None,
    ]


def _plain(
    suffix: str,
    module: str,
    extra: str,
    write: Callable[[Path, Mapping[str, Stored], Header], None],
) -> Named:
    """Return a format of values without names."""
    return Named(
        suffix,
        "",
        module,
        extra,
        lambda path, label, header, *names: write(path, {"label": label}, header),
    )


BY_NAME = {
    "nifti": _plain(".nii.gz", "nibabel", "", nifti.write),
    "nrrd": _plain(".nrrd", nrrd.MODULE, nrrd.EXTRA, nrrd.write),
    "mha": _plain(".mha", "zlib", "", metaimage.write),
    "seg.nrrd": Named(seg_nrrd.SUFFIX, "", nrrd.MODULE, nrrd.EXTRA, seg_nrrd.write),
    "dicom-seg": Named(".dcm", "DICOM", "highdicom", dicom.EXTRA, dicom_seg.write),
}
"""Formats of labels of volumes by what ``--format`` calls them."""


@dataclass(frozen=True)
class Segments:
    """How labels of a model are written in a format of labels by name.

    Attributes:
        form: The format.
        names: Names of the values in label files, without the background's.
        method: Name of the method.
    """

    form: Named
    names: Mapping[int, str]
    method: str

    @classmethod
    def of(cls, form: str, names: Sequence[str], values: Sequence[int], method: str) -> Segments:
        """Return how to write labels in a format.

        Args:
            form: One of ``BY_NAME``.
            names: Names of the classes, background first.
            values: Their values in label files; () for class numbers.
            method: Name of the method.

        Raises:
            UserError: If the format is unknown or its library is not installed.
        """
        if form not in BY_NAME:
            fix = nearest(form, BY_NAME)
            fail("unknown format of predictions", "--format", found=form, fix=fix)
        named = BY_NAME[form]
        need(named.module, named.extra)
        numbers = values or range(len(names))
        return cls(named, dict(zip(numbers[1:], names[1:], strict=True)), method)

    def write(self, path: Path, label: NDArray[np.uint8], header: Header) -> None:
        """Write a label (X, Y, Z) as its scan is stored. UserError, OSError."""
        self.form.write(path, label, header, self.names, colours_of(self.names), self.method)
