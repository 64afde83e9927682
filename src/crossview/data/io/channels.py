"""Numbers at the end of file names: the channels of one scan, or scans of their own."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from crossview.core.errors import Problem, UserError
from crossview.data.io import BY_SUFFIX, ScanFiles, split_name
from crossview.data.io.dicom_files import file_name

CHANNEL = re.compile(r"(?P<name>.+)_(?P<channel>\d{4})")
"""The name of a channel's file, without suffix."""

Groups = dict[tuple[Path, str, str], dict[int, Path]]
"""Files by channel, by (folder, case, suffix of the first)."""


def is_numbered(file: Path, name: str) -> bool:
    """True if a file's name is that of its scan with a channel number, <name>_0000."""
    match = CHANNEL.fullmatch(split_name(file_name(file))[0])
    return match is not None and match["name"] == name


def group_scans(
    files: Iterable[Path], channels: int, numbered: bool, grey: bool = False
) -> tuple[list[ScanFiles], list[Problem]]:
    """Return the scans in files, in their order, and the problems of incomplete ones.

    The headers decide what a number at the end of a name is. Files <case>_0000, <case>_0001, ...
    that have ``channels`` channels together are one scan, named <case>. A file that has them alone
    is a scan named in full, number included; without it if the scans that a model was trained on
    are ``numbered`` and no file of another number belongs to the case. Images stored in colour have
    one channel if the model reads them as ``grey``. A file that is unreadable or has too many
    channels is a scan too, whose reading raises the reason.
    """
    place = {file: number for number, file in enumerate(files)}
    groups, others = by_channel(place)
    scans, problems = [_scan(file) for file in others], list[Problem]()
    for (folder, name, suffix), of_case in groups.items():
        counts = {number: _channels(of_case[number], channels, grey) for number in sorted(of_case)}
        alone = [number for number, count in counts.items() if not 0 < count < channels]
        if _are_whole(counts, channels) and (numbered or len(counts) > 1):
            scans.append(ScanFiles(name, tuple(of_case[number] for number in counts)))
            continue
        scans += [_scan(of_case[number]) for number in alone]
        if parts := [number for number in counts if number not in alone]:
            problems += missing_channels(parts, channels, str(folder / f"{name}{suffix}"))
    return sorted(scans, key=lambda scan: place[scan.files[0]]), problems


def _are_whole(counts: Mapping[int, int], channels: int) -> bool:
    """Return True if files with so many channels, by their numbers, are one scan."""
    several = [*counts] == [*range(channels)] and max(counts.values()) < channels
    # With a wrong count in one of them, reading the scan raises the reason.
    return several or ([*counts] == [*range(len(counts))] and sum(counts.values()) == channels)


def _scan(file: Path) -> ScanFiles:
    return ScanFiles(split_name(file_name(file))[0], (file,))


def _channels(file: Path, channels: int, grey: bool) -> int:
    """Return the number of channels in a file, 0 if it can't be read.

    Of a colour image it is 1 for a model that reads ``grey`` ones or has fewer than three channels.
    """
    if channels == 1:  # without a look at the header
        return 1
    scan = _scan(file)
    try:
        found = scan.format.read_header(file).channels
    except UserError:
        return 0
    return 1 if scan.format.flat and (grey or found > channels) else found


def by_channel(files: Iterable[Path]) -> tuple[Groups, list[Path]]:
    """Group files <case>_0000, <case>_0001, ... of one folder and format.

    Returns:
        The groups, and the files without a channel number.
    """
    groups: Groups = defaultdict(dict)
    others = []
    for file in files:
        name, suffix = split_name(file_name(file))
        match = CHANNEL.fullmatch(name)
        if match is None:
            others.append(file)
        else:
            groups[file.parent, match["name"], suffix][int(match["channel"])] = file
    return _of_one_format(groups), others


def _of_one_format(groups: Groups) -> Groups:
    """Join the groups of a case that differ in suffix only and have no number in common."""
    joined: Groups = {}
    for key, of_case in groups.items():
        folder, name, suffix = key
        others = (
            other
            for other in joined
            if other[:2] == (folder, name) and BY_SUFFIX.get(other[2]) is BY_SUFFIX.get(suffix)
        )
        place = next((other for other in others if not joined[other].keys() & of_case.keys()), key)
        joined.setdefault(place, {}).update(of_case)
    return joined


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
