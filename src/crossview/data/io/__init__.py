"""Formats of scans by suffix, and the files of one scan.

A new format is a file of this folder with the functions of :class:`Format`, and a row of
``FORMATS``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem, UserError, fail
from crossview.data.io import h5, image, nifti
from crossview.data.io.geometry import Header
from crossview.data.io.scan import Scan
from crossview.data.io.volumes import Stored


@dataclass(frozen=True)
class Format:
    """A file format: how its scans are read, and how predictions of them are written.

    Attributes:
        suffixes: In lower case.
        read: Reads a scan from its files, given the number of channels.
        write: Writes named arrays of a prediction to one file on the grid of a scan's header, the
            file completely or not at all.
        read_header: Reads a file's header.
        read_label: Reads the classes in a label file, given the file of its scan: uint8 (*S) as
            stored.
        read_values: Reads a mask's values like ``read_label``, but never 255 as class 1; None if
            ``read_label`` does so too.
        equal_channels: True if an image has one channel, or three equal ones that stand for one.
        flat: True if scans are 2D images.
        map_suffix: Suffix of the maps of a prediction, "" for that of the scan.
        published: True for the published layouts: scans are normalised and ordered already, and
            all arrays of a prediction are in one file.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Sequence[Path], int], Scan]
    write: Callable[[Path, Mapping[str, Stored], Header], None]
    read_header: Callable[[Path], Header]
    read_label: Callable[[Path, Path], NDArray[np.uint8]]
    read_values: Callable[[Path, Path], NDArray[np.uint8]] | None = None
    equal_channels: Callable[[Path], bool] = lambda path: True
    flat: bool = False
    map_suffix: str = ""
    published: bool = False


FORMATS = (
    Format(nifti.SUFFIXES, nifti.read, nifti.write, nifti.read_header, nifti.read_label),
    Format(
        h5.SUFFIXES,
        h5.read,
        h5.write,
        h5.read_header,
        lambda path, scan: h5.read_label(path, 2, 3),
        published=True,
    ),
    Format(
        image.SUFFIXES,
        image.read,
        image.write,
        image.read_header,
        image.read_label,
        image.read_values,
        image.equal_channels,
        flat=True,
        map_suffix=".tif",
    ),
)

BY_SUFFIX = {suffix: each for each in FORMATS for suffix in each.suffixes}
"""Formats by suffix."""

UNPUBLISHED = tuple(suffix for suffix, each in BY_SUFFIX.items() if not each.published)
"""Suffixes of the scans and labels of a user's own data set."""

FOREIGN = (
    *(".hdr", ".img", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgh", ".mgz", ".mnc", ".dcm", ".ima"),
    *(".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".npy", ".npz"),
)
"""Suffixes of images in formats that are not read."""

CHANNEL = re.compile(r"(?P<name>.+)_(?P<channel>\d{4})")
"""The name of a channel's file, without suffix."""


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
        name, lower = split_name(self.files[0].name)
        suffix = self.files[0].name[len(name) :]
        return suffix if suffix.isupper() else lower

    @property
    def format(self) -> Format:
        """Format of the first file."""
        return BY_SUFFIX[self.suffix.lower()]

    @property
    def numbered(self) -> bool:
        """True if its file names end in channel numbers that are not part of its name."""
        return split_name(self.files[0].name)[0] != self.name

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
                expected=f"{channels}, as in the other scans and the training scans",
                fix="convert images to grey (1 channel) or colour (3); give other scans as NIfTI",
            )
        return scan


def split_name(file: str) -> tuple[str, str]:
    """Return a file's name without suffix, and its lower-case suffix, "" if it is no scan's."""
    suffix = next((suffix for suffix in BY_SUFFIX if file.lower().endswith(suffix)), "")
    return file[: len(file) - len(suffix)], suffix


def is_foreign(file: str) -> bool:
    """True if a file's name is that of an image in a format that is not read."""
    return file.lower().removesuffix(".gz").endswith(FOREIGN)


def is_numbered(file: Path, name: str) -> bool:
    """True if a file's name is that of its scan with a channel number, <name>_0000."""
    match = CHANNEL.fullmatch(split_name(file.name)[0])
    return match is not None and match["name"] == name


def group_scans(
    files: Iterable[Path], channels: int, numbered: bool
) -> tuple[list[ScanFiles], list[Problem]]:
    """Return the scans in files, in their order, and the problems of incomplete ones.

    The headers decide what a number at the end of a name is. Files <case>_0000, <case>_0001, ...
    that have ``channels`` channels together are one scan, named <case>. A file that has them alone
    is a scan named in full, number included; without it if the scans that a model was trained on
    are ``numbered`` and no file of another number belongs to the case.
    """
    place = {file: number for number, file in enumerate(files)}
    groups, others = by_channel(place)
    scans, problems = [_scan(file) for file in others], list[Problem]()
    for (folder, name, suffix), of_case in groups.items():
        # Reading one channel per file needs no header.
        counts = {number: _channels(of_case[number], channels) for number in sorted(of_case)}
        whole = list(counts) == list(range(len(counts))) and sum(counts.values()) == channels
        if whole and (numbered or len(counts) > 1):
            scans.append(ScanFiles(name, tuple(of_case[number] for number in counts)))
            continue
        scans += [_scan(of_case[number]) for number in counts if counts[number] == channels]
        parts = [number for number in counts if counts[number] != channels]
        if parts:
            problems += missing_channels(parts, channels, str(folder / f"{name}{suffix}"))
    return sorted(scans, key=lambda scan: place[scan.files[0]]), problems


def _scan(file: Path) -> ScanFiles:
    return ScanFiles(split_name(file.name)[0], (file,))


def _channels(file: Path, channels: int) -> int:
    """Return the number of channels in a file; 1 if it can't be read, or a model has one."""
    try:
        return BY_SUFFIX[split_name(file.name)[1]].read_header(file).channels if channels > 1 else 1
    except UserError:
        return 1


def by_channel(
    files: Iterable[Path],
) -> tuple[dict[tuple[Path, str, str], dict[int, Path]], list[Path]]:
    """Group files <case>_0000, <case>_0001, ... of one folder and suffix.

    Returns:
        Files by channel, by (folder, case, suffix); and the files without a channel number.
    """
    groups: dict[tuple[Path, str, str], dict[int, Path]] = defaultdict(dict)
    others = []
    for file in files:
        name, suffix = split_name(file.name)
        match = CHANNEL.fullmatch(name)
        if match is None:
            others.append(file)
        else:
            groups[file.parent, match["name"], suffix][int(match["channel"])] = file
    return groups, others


def missing_channels(of_scan: Iterable[int], expected: int, where: str) -> list[Problem]:
    """Return a problem unless the channels of a scan are 0 to ``expected`` - 1."""
    wanted = list(range(expected))
    if sorted(of_scan) == wanted:
        return []
    found, needed = (
        ", ".join(f"_{channel:04d}" for channel in numbers) for numbers in (sorted(of_scan), wanted)
    )
    fix = "add the missing files (one per channel), or remove the scan"
    return [Problem("a scan has missing channels", where, found, needed, fix)]
