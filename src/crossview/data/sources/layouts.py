"""Which files of a folder are scans, and which labels are theirs: images/ and labels/, or imagesTr, labelsTr, imagesTs (MSD, nnU-Net).

Only names are looked at here; no file is opened.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from crossview.data.sources import images, volumes
from crossview.errors import Problem

SUFFIXES = (*volumes.SUFFIXES, *images.SUFFIXES)
LAYOUT = "a folder with images/ and labels/, or with imagesTr/, labelsTr/ and imagesTs/"
NUMBERED = re.compile(r"(?P<name>.+)_(?P<channel>\d{4})")
MOST_TOLD = 10
"""Names that one problem lists."""


@dataclass(frozen=True)
class Scan:
    """One scan: its files (one, or one a channel in their order) and its label's file, if there is one."""

    name: str
    files: tuple[Path, ...]
    label: Path | None = None

    @property
    def is_volume(self) -> bool:
        return _is_volume(self.files[0])

    @property
    def numbered(self) -> bool:
        """Whether its files bear channels' numbers that are not part of its name."""
        return _split_name(self.files[0].name)[0] != self.name


@dataclass
class Layout:
    """The scans of a folder by name, those of imagesTs apart, and what is wrong with the names."""

    train: dict[str, Scan] = field(default_factory=dict)
    test: dict[str, Scan] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def find_scans(root: Path) -> Layout:
    """The scans of a folder, and what is wrong with their names."""
    layout = Layout()
    if (root / "images").is_dir() and (root / "imagesTr").is_dir():
        found = "images/ and imagesTr/"
        layout.problems.append(
            Problem(
                "the folder has two layouts",
                str(root),
                found,
                "one of the two",
                "move one of them away",
            )
        )
    elif (root / "images").is_dir():
        layout.train = _scans(root / "images", root / "labels", layout)
    elif (root / "imagesTr").is_dir():
        layout.train = _scans(root / "imagesTr", root / "labelsTr", layout)
        numbered = any(scan.numbered for scan in layout.train.values())
        layout.test = _scans(root / "imagesTs", root / "labelsTs", layout, numbered)
    else:
        for name in ("images", "imagesTr"):
            _listed(root / name, layout.problems)  # a link that leads nowhere is told
        layout.problems += [] if layout.problems else [_no_layout(root)]
        return layout
    for name in sorted(layout.train.keys() & layout.test.keys()):
        layout.problems.append(
            Problem(
                "a scan has the name of another",
                name,
                "in imagesTr and in imagesTs",
                "one of the two",
                "rename it",
            )
        )
    if not layout.train and not layout.problems:
        folder = root / ("images" if (root / "images").is_dir() else "imagesTr")
        expected = f"files {', '.join(SUFFIXES)}"
        layout.problems.append(
            Problem("there are no scans", str(folder), "none", expected, "put the scans there")
        )
    return layout


def _no_layout(root: Path) -> Problem:
    here = [path.name for path in _listed(root, []) if not path.name.startswith(".")]
    loose = sum(_split_name(name)[1] in SUFFIXES for name in here)
    found = (
        f"{loose} scans in the folder itself"
        if loose
        else (", ".join(sorted(here)[:MOST_TOLD]) or "an empty folder")
    )
    fix = "put the scans into images/, and labels of the same names into labels/"
    if root.absolute().name in ("images", "imagesTr", "labels", "labelsTr"):
        fix = f"give the folder that holds this one: {root.absolute().parent}"
    return Problem("the layout is not known", str(root), found, LAYOUT, fix)


def _scans(
    images_folder: Path, labels_folder: Path, layout: Layout, numbered: bool | None = None
) -> dict[str, Scan]:
    """The scans of a folder of images. numbered: whether names end in a channel's number; None lets the names decide."""
    layout.problems += _misnamed(labels_folder)
    files, labels = _by_name(images_folder, layout), _by_name(labels_folder, layout)
    if _numbered(files, labels) if numbered is None else numbered:
        scans = _by_case(files, layout)
    else:
        scans = {name: Scan(name, (file,)) for name, file in files.items()}
    layout.problems += _alike(scans, images_folder)
    if orphans := [name for name in labels if name not in scans]:
        layout.problems.append(_orphans(orphans, scans, labels_folder))
    for name, label in labels.items():
        if name in scans and _is_volume(label) == scans[name].is_volume:
            scans[name] = replace(scans[name], label=label)
        elif name in scans:
            found = f"{scans[name].files[0].name} and {label.name}"
            layout.problems.append(
                Problem(
                    "scan and label are of different kinds",
                    name,
                    found,
                    "both NIfTI, or both PNG or TIFF",
                    "convert one",
                )
            )
    return scans


def _misnamed(folder: Path) -> list[Problem]:
    """A folder of labels that is a file, or whose name has other capitals."""
    if folder.is_dir():
        return []
    if folder.is_file():
        return [
            Problem(
                "this is no folder",
                str(folder),
                "a file",
                "a folder of labels",
                "put the labels into a folder of this name",
            )
        ]
    alike = [
        path
        for path in _listed(folder.parent, [])
        if path.name.casefold() == folder.name.casefold() and path.is_dir()
    ]
    return [
        Problem(
            "the folder of labels has another name",
            str(path),
            path.name,
            folder.name,
            f"rename it to {folder.name}",
        )
        for path in alike
    ]


def _by_name(folder: Path, layout: Layout) -> dict[str, Path]:
    """The scans of a folder by file name without suffix, sorted; hidden files (macOS leaves '._' ones) are passed over."""
    files: dict[str, Path] = {}
    odd = []
    for path in sorted(_listed(folder, layout.problems)):
        name, suffix = _split_name(path.name)
        if path.name.startswith("."):
            continue
        if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in path.name):
            found = ascii(path.name)
            layout.problems.append(
                Problem(
                    "a name holds signs that are no text",
                    str(folder),
                    found,
                    "letters and digits",
                    "rename it",
                )
            )
        elif suffix not in SUFFIXES or not name:
            odd.append(path.name)
        elif not path.is_file():
            found = (
                "a folder"
                if path.is_dir()
                else ("a link to nothing or to itself" if path.is_symlink() else "no plain file")
            )
            layout.problems.append(
                Problem("this is no file", str(path), found, "a scan", "restore it, or take it out")
            )
        elif name in files:
            found = f"{files[name].name} and {path.name}"
            layout.problems.append(
                Problem(
                    "two files have one name",
                    str(folder),
                    found,
                    "one file a scan",
                    "take one of them out",
                )
            )
        else:
            files[name] = path
    if odd:
        expected = f"files {', '.join(SUFFIXES)}"
        what = (
            "an entry is no scan and is not read"
            if len(odd) == 1
            else f"{len(odd)} entries are no scans and are not read"
        )
        layout.warnings.append(Problem(what, str(folder), told(odd), expected))
    return files


def _listed(folder: Path, problems: list[Problem]) -> list[Path]:
    if folder.is_symlink() and not folder.exists():
        problems.append(
            Problem(
                "this is no folder",
                str(folder),
                "a link to nothing or to itself",
                "a folder",
                "mend the link",
            )
        )
    try:
        return list(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        problems.append(
            Problem(
                "the folder can't be read",
                str(folder),
                error.strerror or str(error),
                fix="give yourself the right to",
            )
        )
        return []


def _split_name(file: str) -> tuple[str, str]:
    """Name and suffix (in small letters, "" for a file that is no scan)."""
    suffix = next((suffix for suffix in SUFFIXES if file.lower().endswith(suffix)), "")
    return file[: len(file) - len(suffix)], suffix


def _is_volume(path: Path) -> bool:
    return _split_name(path.name)[1] in volumes.SUFFIXES


def _numbered(files: Mapping[str, Path], labels: Mapping[str, Path]) -> bool:
    """Whether names end in a channel's number. Labels tell, as they have none; without them only names that all end in _0000 to _0009."""
    matches = [NUMBERED.fullmatch(name) for name in files]
    cases = {match["name"] for match in matches if match}
    if labels:
        return sum(name in cases for name in labels) > sum(name in files for name in labels)
    return (
        bool(files)
        and all(match and int(match["channel"]) < 10 for match in matches)
        and all(f"{name}_0000" in files for name in cases)
    )


def _by_case(files: Mapping[str, Path], layout: Layout) -> dict[str, Scan]:
    """Files <case>_0000, <case>_0001, ... as one scan each."""
    channels: dict[str, dict[int, Path]] = defaultdict(dict)
    for name, path in files.items():
        if match := NUMBERED.fullmatch(name):
            channels[match["name"]][int(match["channel"])] = path
        else:
            fix = f"name it {name}_0000{path.name[len(name) :]}, as the others are"
            layout.problems.append(
                Problem(
                    "the name tells no channel",
                    str(path),
                    path.name,
                    "a name that ends in _0000, _0001, ...",
                    fix,
                )
            )
    most = max((len(of_case) for of_case in channels.values()), default=0)
    for name, of_case in channels.items():
        if sorted(of_case) != list(range(most)):
            found, expected = (
                ", ".join(f"_{channel:04d}" for channel in numbers)
                for numbers in (sorted(of_case), range(most))
            )
            layout.problems.append(
                Problem(
                    "a scan's channels are not complete",
                    name,
                    found,
                    expected,
                    "add the files, or take the scan out",
                )
            )
    return {
        name: Scan(name, tuple(of_case[channel] for channel in sorted(of_case)))
        for name, of_case in channels.items()
    }


def _alike(names: Iterable[str], folder: Path) -> list[Problem]:
    """Names that differ in capitals only: on Windows and macOS one file would take the other's place."""
    by_small: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_small[name.casefold()].append(name)
    return [
        Problem(
            "names differ in capitals only",
            str(folder),
            " and ".join(alike),
            "names that differ otherwise",
            "rename one of them",
        )
        for alike in by_small.values()
        if len(alike) > 1
    ]


def _orphans(orphans: list[str], scans: Mapping[str, Scan], folder: Path) -> Problem:
    what = (
        "a label belongs to no scan"
        if len(orphans) == 1
        else f"{len(orphans)} labels belong to no scan"
    )
    inside = max(
        (name for name in scans if name in orphans[0]), key=len, default=""
    )  # "case1" in "case1_seg"
    hint = f"; {orphans[0]} may be the label of {inside}" if inside else ""
    return Problem(
        what,
        str(folder),
        told(orphans),
        "labels with the names of scans",
        f"give each the name of its scan, or take it out{hint}",
    )


def told(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else ""
    return ", ".join(names[:MOST_TOLD]) + more
