"""Pairs of scans and labels in a user's folder, found by name; no file is opened.

Layouts: images/ and labels/, or imagesTr/, labelsTr/ and imagesTs/ (MSD, nnU-Net).
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from crossview.core.errors import Problem
from crossview.core.text import COMPOSED, MOST_LISTED, first_few, same_in_print
from crossview.data.io import (
    BY_SUFFIX,
    LABELS_ONLY,
    UNPUBLISHED,
    ScanFiles,
    absent_libraries,
    split_name,
)
from crossview.data.io.channels import by_channel, missing_channels
from crossview.data.io.dicom_files import FOLDER, file_name
from crossview.data.sources import numbering
from crossview.data.sources.lists import no_file
from crossview.data.sources.unread import SCANS, Unread, unread

LAYOUT = "a folder with images/ and labels/, or with imagesTr/, labelsTr/ and imagesTs/"


@dataclass
class Layout:
    """The scans of a folder by name, those of imagesTs in ``test``, with problems of the names.

    channels: the number that dataset.json states, 0 if it states none.
    """

    channels: int = 0
    train: dict[str, ScanFiles] = field(default_factory=dict)
    test: dict[str, ScanFiles] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        """All files of scans and labels."""
        scans = [*self.train.values(), *self.test.values()]
        labels = [scan.label for scan in scans if scan.label is not None]
        return [*(file for scan in scans for file in scan.files), *labels]

    def note(
        self, what: str, where: object, *, found: str, expected: str = "", fix: str = ""
    ) -> None:
        """Add a problem."""
        self.problems.append(Problem(what, str(where), found, expected, fix))


def find_scans(root: Path, channels: int = 0) -> Layout:
    """Return the scans of a folder and the problems of their names.

    channels: the number that dataset.json states, 0 if it states none.
    """
    layout = Layout(channels)
    images, images_tr = root / "images", root / "imagesTr"
    if images.is_dir() and images_tr.is_dir():
        layout.note(
            "the folder contains two layouts",
            root,
            found="images/ and imagesTr/",
            expected="one of the two",
            fix="move one of them elsewhere",
        )
    elif images.is_dir():
        layout.train = _scans(images, root / "labels", layout)
    elif images_tr.is_dir():
        layout.train = _scans(images_tr, root / "labelsTr", layout)
        numbered = any(scan.numbered for scan in layout.train.values())
        layout.test = _scans(root / "imagesTs", root / "labelsTs", layout, numbered)
    else:
        _entries(images, layout), _entries(images_tr, layout)  # report a broken link
        if not layout.problems:
            _note_no_layout(root, layout)
        return layout
    layout.problems += absent_libraries(layout.files)
    for name in sorted(layout.train.keys() & layout.test.keys()):
        layout.note(
            "two scans have the same name",
            name,
            found="in imagesTr and in imagesTs",
            expected="different names",
            fix="rename one of them",
        )
    if not layout.train and not layout.problems:
        folder = images if images.is_dir() else images_tr
        layout.note(
            "the folder contains no scans",
            folder,
            found=first_few(sorted(path.name for path in _entries(folder, layout))) or "no files",
            expected=SCANS,
            fix="copy the scans there",
        )
    return layout


def _note_no_layout(root: Path, layout: Layout) -> None:
    here = [path.name for path in _entries(root, Layout()) if not path.name.startswith(".")]
    loose = sum(split_name(name)[1] in UNPUBLISHED for name in here)
    found = (
        f"{loose} scans in the folder itself"
        if loose
        else (", ".join(sorted(here)[:MOST_LISTED]) or "an empty folder")
    )
    fix = "move the scans to images/, and their labels, with the same names, to labels/"
    if root.absolute().name in ("images", "imagesTr", "labels", "labelsTr"):
        fix = f"give the parent folder: {root.absolute().parent}"
    layout.note("the folder layout is unknown", root, found=found, expected=LAYOUT, fix=fix)


def _scans(
    images_folder: Path, labels_folder: Path, layout: Layout, numbered: bool | None = None
) -> dict[str, ScanFiles]:
    """Return the scans of an image folder.

    numbered: True if names end in a channel number; None decides from the names.
    """
    _note_misnamed(labels_folder, layout)
    files, other_images = _by_name(images_folder, layout, LABELS_ONLY)
    labels, other_labels = _by_name(labels_folder, layout)
    if numbering.numbered(files, labels) if numbered is None else numbered:
        scans = _by_case(files, layout)
    else:
        layout.warnings += numbering.doubtful(files, labels, labels_folder, layout.channels)
        scans = {name: ScanFiles(name, (file,)) for name, file in files.items()}
    _note_alike(scans, images_folder, layout)
    missing = other_images.of_scans(scans, labels)
    for other, problems in (
        (other_images, missing),
        (other_labels, other_labels.of_labels(scans, labels)),
    ):
        layout.problems += problems
        layout.warnings += [] if problems else other.warnings()
    orphans = [name for name in labels if name not in scans and name not in other_images.names]
    if orphans and (scans or not missing):
        _note_orphans(orphans, scans, labels_folder, layout)
    for name, label in labels.items():
        if name not in scans:
            continue
        scan = scans[name]
        if BY_SUFFIX[split_name(file_name(label))[1]].flat == scan.format.flat:
            scans[name] = replace(scan, label=label)
        else:
            layout.note(
                "scan and label have different formats",
                name,
                found=f"{scan.files[0].name} and {label.name}",
                expected="both volumes, or both PNG or TIFF",
                fix="convert one of them",
            )
    return scans


def _note_misnamed(folder: Path, layout: Layout) -> None:
    """Note a label folder that is a file or differs in capitals."""
    if folder.is_file():
        layout.note(
            "the label folder is a file",
            folder,
            found="a file",
            expected="a folder of labels",
            fix="move the labels to a folder of this name",
        )
    elif not folder.is_dir():
        for path in _entries(folder.parent, Layout()):
            if path.name.casefold() == folder.name.casefold() and path.is_dir():
                layout.note(
                    "the label folder is misspelt",
                    path,
                    found=path.name,
                    expected=folder.name,
                    fix=f"rename it to {folder.name}",
                )


def _by_name(
    folder: Path, layout: Layout, without: Collection[str] = ()
) -> tuple[dict[str, Path], Unread]:
    """Return a folder's scans by name without suffix, sorted, and its other entries.

    Hidden files (macOS '._') are skipped.
    """
    files: dict[str, Path] = {}
    odd = []
    for path in sorted(_entries(folder, layout)):
        name, suffix = split_name(file_name(path))
        if path.name.startswith("."):
            continue
        if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in path.name):
            layout.note(
                "a file name contains unprintable characters",
                folder,
                found=ascii(path.name),
                expected="printable characters",
                fix="rename the file",
            )
        elif suffix not in UNPUBLISHED or suffix in without or not name:
            odd.append(path)
        elif not (path.is_file() or suffix == FOLDER):
            layout.problems += no_file(path)
        elif name in files:
            layout.note(
                "two files have the same name",
                folder,
                found=f"{files[name].name} and {path.name}",
                expected="one file per scan",
                fix="remove one of them",
            )
        else:
            files[name] = path
    return files, unread(folder, odd)


def _entries(folder: Path, layout: Layout) -> list[Path]:
    """Return the entries of a folder; none, with a problem, if it cannot be read."""
    if folder.is_symlink() and not folder.exists():
        layout.note(
            "not a folder",
            folder,
            found="a broken link",
            expected="a folder",
            fix="repair the link",
        )
    try:
        return list(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        found = error.strerror or str(error)
        layout.note("the folder can't be read", folder, found=found, fix="change its permissions")
        return []


def _by_case(files: Mapping[str, Path], layout: Layout) -> dict[str, ScanFiles]:
    """Return one scan per group of files <case>_0000, <case>_0001, ..."""
    groups, others = by_channel(files.values())
    for path in others:
        name = split_name(file_name(path))[0]
        layout.note(
            "the file name has no channel number",
            path,
            found=path.name,
            expected="a name that ends in _0000, _0001, ...",
            fix=f"rename it to {name}_0000{path.name[len(name) :]}, like the others",
        )
    channels: dict[str, dict[int, Path]] = defaultdict(dict)
    for (_, name, _), of_case in groups.items():
        channels[name] |= of_case
    most = max(map(len, channels.values()), default=0)
    for name, of_case in channels.items():
        layout.problems += missing_channels(of_case, most, name)
        formats = {BY_SUFFIX[split_name(file_name(file))[1]].name for file in of_case.values()}
        if len(formats) > 1:
            layout.note(
                "the channels of a scan are in different formats",
                name,
                found=", ".join(file.name for file in of_case.values()),
                expected="one format",
                fix="convert one of them",
            )
    return {
        name: ScanFiles(name, tuple(of_case[channel] for channel in sorted(of_case)))
        for name, of_case in channels.items()
    }


def _note_alike(names: Iterable[str], folder: Path, layout: Layout) -> None:
    """Note names that differ in case only: on Windows and macOS one would replace the other."""
    by_small: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_small[name.casefold()].append(name)
    for alike in by_small.values():
        if len(alike) > 1:
            layout.note(
                "names differ in capitals only",
                folder,
                found=" and ".join(alike),
                expected="names that differ in more than capitals",
                fix="rename one of them",
            )


def _note_orphans(
    orphans: list[str], scans: Mapping[str, ScanFiles], folder: Path, layout: Layout
) -> None:
    # "case1" in "case1_seg"
    inside = max((name for name in scans if name in orphans[0]), key=len, default="")
    hint = f"; {orphans[0]} may be the label of {inside}" if inside else ""
    if same_in_print(orphans[0], scans):
        hint = f"; {orphans[0]}: {COMPOSED}"
    layout.note(
        "1 label has no scan" if len(orphans) == 1 else f"{len(orphans)} labels have no scan",
        folder,
        found=first_few(orphans),
        expected="labels named like their scans",
        fix=f"rename each label to match its scan, or remove it{hint}",
    )
