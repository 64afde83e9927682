"""Pairs of scans and labels in a folder, found by name; no file is opened.

Layouts: images/ and labels/, or imagesTr/, labelsTr/ and imagesTs/ (MSD, nnU-Net).
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
"""Most names listed in one problem."""


@dataclass(frozen=True)
class Scan:
    """One scan: its files (one, or one per channel in order) and its label's file, if any."""

    name: str
    files: tuple[Path, ...]
    label: Path | None = None

    @property
    def is_volume(self) -> bool:
        return _is_volume(self.files[0])

    @property
    def numbered(self) -> bool:
        """True if its file names end in channel numbers that are not part of its name."""
        return _split_name(self.files[0].name)[0] != self.name


@dataclass
class Layout:
    """The scans of a folder by name, those of imagesTs in ``test``, with problems of the names."""

    train: dict[str, Scan] = field(default_factory=dict)
    test: dict[str, Scan] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def find_scans(root: Path) -> Layout:
    """Return the scans of a folder and the problems of their names."""
    layout = Layout()
    if (root / "images").is_dir() and (root / "imagesTr").is_dir():
        found = "images/ and imagesTr/"
        layout.problems.append(
            Problem(
                "the folder contains two layouts",
                str(root),
                found,
                "one of the two",
                "move one of them elsewhere",
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
            _listed(root / name, layout.problems)  # reports a broken link
        layout.problems += [] if layout.problems else [_no_layout(root)]
        return layout
    for name in sorted(layout.train.keys() & layout.test.keys()):
        layout.problems.append(
            Problem(
                "two scans have the same name",
                name,
                "in imagesTr and in imagesTs",
                "different names",
                "rename one of them",
            )
        )
    if not layout.train and not layout.problems:
        folder = root / ("images" if (root / "images").is_dir() else "imagesTr")
        expected = f"files {', '.join(SUFFIXES)}"
        layout.problems.append(
            Problem(
                "the folder contains no scans",
                str(folder),
                "none",
                expected,
                "copy the scans there",
            )
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
    fix = "move the scans to images/, and their labels, with the same names, to labels/"
    if root.absolute().name in ("images", "imagesTr", "labels", "labelsTr"):
        fix = f"give the parent folder: {root.absolute().parent}"
    return Problem("the folder layout is unknown", str(root), found, LAYOUT, fix)


def _scans(
    images_folder: Path, labels_folder: Path, layout: Layout, numbered: bool | None = None
) -> dict[str, Scan]:
    """Return the scans of an image folder.

    numbered: True if names end in a channel number; None decides from the names.
    """
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
                    "scan and label have different formats",
                    name,
                    found,
                    "both NIfTI, or both PNG or TIFF",
                    "convert one of them",
                )
            )
    return scans


def _misnamed(folder: Path) -> list[Problem]:
    """Return problems if the label folder is a file or differs in capitals."""
    if folder.is_dir():
        return []
    if folder.is_file():
        return [
            Problem(
                "the label folder is a file",
                str(folder),
                "a file",
                "a folder of labels",
                "move the labels to a folder of this name",
            )
        ]
    alike = [
        path
        for path in _listed(folder.parent, [])
        if path.name.casefold() == folder.name.casefold() and path.is_dir()
    ]
    return [
        Problem(
            "the label folder is misspelt",
            str(path),
            path.name,
            folder.name,
            f"rename it to {folder.name}",
        )
        for path in alike
    ]


def _by_name(folder: Path, layout: Layout) -> dict[str, Path]:
    """Return a folder's scans by name without suffix, sorted; skip hidden files (macOS '._')."""
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
                    "a file name contains unprintable characters",
                    str(folder),
                    found,
                    "printable characters",
                    "rename the file",
                )
            )
        elif suffix not in SUFFIXES or not name:
            odd.append(path.name)
        elif not path.is_file():
            found = (
                "a folder"
                if path.is_dir()
                else ("a broken link" if path.is_symlink() else "a special file")
            )
            layout.problems.append(
                Problem("not a regular file", str(path), found, "a scan", "restore or remove it")
            )
        elif name in files:
            found = f"{files[name].name} and {path.name}"
            layout.problems.append(
                Problem(
                    "two files have the same name",
                    str(folder),
                    found,
                    "one file per scan",
                    "remove one of them",
                )
            )
        else:
            files[name] = path
    if odd:
        expected = f"files {', '.join(SUFFIXES)}"
        what = (
            "1 entry is not a scan and is skipped"
            if len(odd) == 1
            else f"{len(odd)} entries are not scans and are skipped"
        )
        layout.warnings.append(Problem(what, str(folder), told(odd), expected))
    return files


def _listed(folder: Path, problems: list[Problem]) -> list[Path]:
    if folder.is_symlink() and not folder.exists():
        problems.append(
            Problem(
                "not a folder",
                str(folder),
                "a broken link",
                "a folder",
                "repair the link",
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
                fix="change its permissions",
            )
        )
        return []


def _split_name(file: str) -> tuple[str, str]:
    """Return name and lower-case suffix, "" for a file that is not a scan."""
    suffix = next((suffix for suffix in SUFFIXES if file.lower().endswith(suffix)), "")
    return file[: len(file) - len(suffix)], suffix


def _is_volume(path: Path) -> bool:
    return _split_name(path.name)[1] in volumes.SUFFIXES


def _numbered(files: Mapping[str, Path], labels: Mapping[str, Path]) -> bool:
    """True if file names end in a channel number.

    Decided from the labels, which have none; without labels, all names must end in _0000 to _0009.
    """
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
    """Return one scan per group of files <case>_0000, <case>_0001, ..."""
    channels: dict[str, dict[int, Path]] = defaultdict(dict)
    for name, path in files.items():
        if match := NUMBERED.fullmatch(name):
            channels[match["name"]][int(match["channel"])] = path
        else:
            fix = f"rename it to {name}_0000{path.name[len(name) :]}, like the others"
            layout.problems.append(
                Problem(
                    "the file name has no channel number",
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
                    "a scan has missing channels",
                    name,
                    found,
                    expected,
                    "add the missing files, or remove the scan",
                )
            )
    return {
        name: Scan(name, tuple(of_case[channel] for channel in sorted(of_case)))
        for name, of_case in channels.items()
    }


def _alike(names: Iterable[str], folder: Path) -> list[Problem]:
    """Return a problem per group of names that differ in case only.

    On Windows and macOS one file would replace the other.
    """
    by_small: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_small[name.casefold()].append(name)
    return [
        Problem(
            "names differ in capitals only",
            str(folder),
            " and ".join(alike),
            "names that differ in more than capitals",
            "rename one of them",
        )
        for alike in by_small.values()
        if len(alike) > 1
    ]


def _orphans(orphans: list[str], scans: Mapping[str, Scan], folder: Path) -> Problem:
    what = "1 label has no scan" if len(orphans) == 1 else f"{len(orphans)} labels have no scan"
    inside = max(
        (name for name in scans if name in orphans[0]), key=len, default=""
    )  # "case1" in "case1_seg"
    hint = f"; {orphans[0]} may be the label of {inside}" if inside else ""
    return Problem(
        what,
        str(folder),
        told(orphans),
        "labels named like their scans",
        f"rename each label to match its scan, or remove it{hint}",
    )


def told(names: list[str]) -> str:
    """Return the first names and the number of the others."""
    more = f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else ""
    return ", ".join(names[:MOST_TOLD]) + more
