"""Formats of scans by suffix, and the files of one scan.

A new format is a file of this folder with the functions of :class:`Format`, and a row of
``FORMATS``; of a format of volumes, the function that opens a file and the one that writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem, fail
from crossview.core.text import first_few
from crossview.data.io import (
    codecs,
    dicom,
    dicom_seg,
    extras,
    h5,
    image,
    metaimage,
    nifti,
    nrrd,
    seg_nrrd,
    volume_file,
)
from crossview.data.io.dicom_files import FOLDER, file_name
from crossview.data.io.geometry import Header
from crossview.data.io.label_map import LabelMap
from crossview.data.io.scan import Scan
from crossview.data.io.volumes import Stored


@dataclass(frozen=True)
class Format:
    """A file format: how its scans are read, and how predictions of them are written.

    Attributes:
        name: What users call it.
        suffixes: In lower case, the first for new files.
        read: Reads a scan from its files, given the number of channels.
        write: Writes named arrays of a prediction to one file on the grid of a scan's header, the
            file completely or not at all.
        read_header: Reads a file's header.
        read_label: Reads the classes in a label file, given the header of its scan and the scan's
            file for messages: uint8 (*S) as the scan is stored.
        read_values: Reads a mask's values like ``read_label``, but never 255 as class 1; None if
            ``read_label`` does so too.
        names: Names of the segments in a label file, () if it holds values.
        read_segments: Reads a label of named segments, given the header of its scan: the names, and
            layers with their numbers, from 1, as the scan is stored.
        equal_channels: True if an image has one channel, or three equal ones that stand for one.
        flat: True if scans are 2D images.
        map_suffix: Suffix of the maps of a prediction, "" for that of the scan.
        published: True for the published layouts: scans are normalised and ordered already, and
            all arrays of a prediction are in one file.
        module: The library that some systems lack and that reads the format.
        extra: The extra with that library, "" if it belongs to none.
        instead: What a user can do without that library.
        needs: True if a file takes that library.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Sequence[Path], int], Scan]
    write: Callable[[Path, Mapping[str, Stored], Header], None]
    read_header: Callable[[Path], Header]
    read_label: Callable[[Path, Header, Path], NDArray[np.uint8]]
    read_values: Callable[[Path], NDArray[np.uint8]] | None = None
    names: Callable[[Path], tuple[str, ...]] = lambda path: ()
    read_segments: Callable[[Path, Header], tuple[tuple[str, ...], list[NDArray[np.uint8]]]] = (
        lambda path, header: ((), [])
    )
    equal_channels: Callable[[Path], bool] = lambda path: True
    flat: bool = False
    map_suffix: str = ""
    published: bool = False
    module: str = ""
    extra: str = ""
    instead: str = ""
    needs: Callable[[Path], bool] = lambda path: True

    @property
    def kind(self) -> str:
        """What scan and label have in common, in words."""
        return "h5" if self.published else "PNG or TIFF" if self.flat else "a volume"


def _volumes(
    name: str,
    suffixes: tuple[str, ...],
    opened: volume_file.Opener,
    write: Callable[[Path, Mapping[str, Stored], Header], None],
    module: str = "",
    extra: str = "",
) -> Format:
    """Return a format of volumes, of which a module opens files and writes predictions."""
    return Format(
        name,
        suffixes,
        partial(volume_file.read, opened),
        write,
        lambda path: opened(path).header,
        partial(volume_file.read_label, opened),
        module=module,
        extra=extra,
    )


NIFTI = _volumes("NIfTI", nifti.SUFFIXES, nifti.opened, nifti.write)

FORMATS = (
    NIFTI,
    replace(
        _volumes("NRRD", nrrd.SUFFIXES, nrrd.opened, nrrd.write, nrrd.MODULE, nrrd.EXTRA),
        names=seg_nrrd.names,
        read_segments=seg_nrrd.read,
    ),
    _volumes("MetaImage", metaimage.SUFFIXES, metaimage.opened, metaimage.write),
    replace(
        _volumes("DICOM", dicom.SUFFIXES, dicom.opened, nifti.write, dicom.MODULE, dicom.EXTRA),
        names=dicom_seg.names,
        read_segments=dicom_seg.read,
    ),
    Format(
        "h5",
        h5.SUFFIXES,
        h5.read,
        h5.write,
        h5.read_header,
        lambda path, header, scan: h5.read_label(path, 2, 3),
        published=True,
    ),
    Format(
        "PNG or TIFF",
        image.SUFFIXES,
        image.read,
        image.write,
        image.read_header,
        lambda path, header, scan: image.read_label(path),
        image.read_values,
        equal_channels=image.equal_channels,
        flat=True,
        map_suffix=".tif",
        module=codecs.MODULE,
        instead=codecs.INSTEAD,
        needs=image.needs_codecs,
    ),
)

BY_SUFFIX = {suffix: each for each in FORMATS for suffix in each.suffixes}
"""Formats by suffix."""

UNPUBLISHED = tuple(suffix for suffix, each in BY_SUFFIX.items() if not each.published)
"""Suffixes of the scans and labels of a user's own data set."""

LABELS_ONLY = (seg_nrrd.SUFFIX,)
"""Suffixes of files that are labels, never scans."""

FOREIGN = (
    *(".hdr", ".img", ".mgh", ".mgz", ".mnc", ".ima"),
    *(".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".npy", ".npz"),
)
"""Suffixes of images in formats that are not read."""

CLASS_NUMBERS = LabelMap()
"""The meaning of labels whose values are class numbers."""


@dataclass(frozen=True)
class ScanFiles:
    """The files of one scan: one, or one per channel in order; and its label's file, if any."""

    name: str
    files: tuple[Path, ...]
    label: Path | None = None

    @property
    def suffix(self) -> str:
        """Suffix of the first file as in its name; in lower case if that mixes capitals.

        ITK and nibabel open no file with such a suffix.
        """
        file = file_name(self.files[0])
        name, lower = split_name(file)
        suffix = file[len(name) :]
        return suffix if suffix.isupper() else lower

    @property
    def format(self) -> Format:
        """Format of the first file."""
        return BY_SUFFIX[self.suffix.lower()]

    @property
    def written_as(self) -> tuple[Format, str]:
        """Format and suffix of predictions: NIfTI for volumes, else those of the scan."""
        if self.format.flat or self.format.published or self.format is NIFTI:
            return self.format, self.suffix
        return NIFTI, NIFTI.suffixes[0]

    @property
    def numbered(self) -> bool:
        """True if its file names end in channel numbers that are not part of its name."""
        return split_name(file_name(self.files[0]))[0] != self.name

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments in the label, () if it holds values. UserError."""
        assert self.label is not None  # only labelled scans are asked
        return self._label_format.names(self.label)

    @property
    def _label_format(self) -> Format:
        assert self.label is not None
        return BY_SUFFIX[split_name(file_name(self.label))[1]]

    def read_label(self, meaning: LabelMap = CLASS_NUMBERS) -> NDArray[np.uint8]:
        """Read the classes of the label as the scan is stored, uint8 (*S).

        UserError if either file is missing or damaged, the grids differ, or a value or the name of
        a segment is no class.
        """
        assert self.label is not None  # only labelled scans are asked
        if not self.segments:
            values = self.read_values(masks=meaning.white_is_one)
            return meaning.of_values(values, self.label, masks=self.format.flat)
        header = self.format.read_header(self.files[0])
        found = self._label_format.read_segments(self.label, header)
        return meaning.of_segments(*found, self.label)

    def read_values(self, masks: bool = True) -> NDArray[np.uint8]:
        """Read the values of a label without segments as the scan is stored, uint8 (*S).

        masks: Read 255 as 1 where a mask holds only 0 and 255. UserError as for ``read_label``.
        """
        assert self.label is not None  # only labelled scans are asked
        form = self._label_format
        if not masks and form.read_values is not None:
            return form.read_values(self.label)
        return form.read_label(self.label, self.format.read_header(self.files[0]), self.files[0])

    def read(self, channels: int) -> Scan:
        """Read the scan as stored.

        UserError if a file is missing, damaged or too large, contains NaN, or the scan does not
        have ``channels`` channels.
        """
        scan = self.format.read(self.files, channels)
        if len(scan.image) != channels:
            fail(
                "the scan has the wrong number of channels",
                self.files[0],
                found=len(scan.image),
                expected=f"{channels}, as in the training scans, or as dataset.json names",
                fix="convert images to grey (1 channel) or colour (3); give other scans as NIfTI"
                if self.format.flat
                else "give every scan the same channels, and name each in dataset.json",
            )
        return scan


def split_name(file: str) -> tuple[str, str]:
    """Return a file's name without suffix, and its lower-case suffix, "" if it is no scan's.

    file: By :func:`file_name`, if it may be the folder of a DICOM series.
    """
    suffix = next((suffix for suffix in BY_SUFFIX if file.lower().endswith(suffix)), "")
    return file[: len(file) - len(suffix)], suffix


def listed_suffixes(suffixes: Iterable[str]) -> str:
    """Return what scans are, for messages."""
    files = ", ".join(suffix for suffix in suffixes if suffix != FOLDER)
    return f"files {files}, or folders of DICOM files"


def absent_libraries(files: Iterable[Path]) -> list[Problem]:
    """Return a problem per library that some of these files need and that is not installed."""
    lacking = [each for each in FORMATS if each.module and extras.is_absent(each.module)]
    by_format: dict[str, list[str]] = defaultdict(list)
    for file in files if lacking else ():
        found = BY_SUFFIX.get(split_name(file_name(file))[1])
        if found in lacking and found.needs(file):
            by_format[found.name].append("/".join(file.parts[-2:]))
    return [
        extras.absent(each.module, each.extra, first_few(names), each.instead)
        for each in lacking
        if (names := by_format[each.name])
    ]


def is_foreign(file: str) -> bool:
    """True if a file's name is that of an image in a format that is not read."""
    return file.lower().removesuffix(".gz").endswith(FOREIGN)
