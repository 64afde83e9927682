"""What a folder of scans or labels holds besides them: images of other formats, and subfolders."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossview.core.errors import Problem
from crossview.core.text import count, first_few
from crossview.data.io import UNPUBLISHED, is_foreign, listed_suffixes, split_name
from crossview.data.io.channels import CHANNEL

SCANS = listed_suffixes(UNPUBLISHED)

CONVERT = "convert volumes to NIfTI, and 2D images to PNG or TIFF"

DETACHED = (".mhd", ".nhdr")
"""Suffixes of headers whose voxels are in a file of their own."""

VOXELS = re.compile(r"\.z?raw(\.gz|\.bz2)?$", re.IGNORECASE)
"""End of the name of such a file."""

DEEPEST = 3
"""Levels of subfolders in which scans are looked for."""


@dataclass(frozen=True)
class Unread:
    """The entries of a folder that are no scans, by kind.

    Attributes:
        folder: The folder.
        foreign: Files of formats that are not read.
        nested: Subfolders with scans, or with files of other formats.
        others: Names of all other entries.
    """

    folder: Path
    foreign: tuple[Path, ...] = ()
    nested: tuple[Path, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """Names of the scans in files of other formats."""
        return {name for path in self.foreign for name in _names(path.name)}

    def of_scans(self, scans: Collection[str], labels: Collection[str]) -> list[Problem]:
        """Return why scans are missing, if that folder is of scans.

        Files of other formats, or in subfolders, may be anybody's business as long as there are
        scans next to them and no label belongs to them.
        """
        unread = [path.name for path in self.foreign]
        if scans:
            unread = [name for name in unread if _names(name) & (set(labels) - set(scans))]
        return [*self._convert(unread, "scan"), *([] if scans else self._flatten())]

    def of_labels(self, scans: Collection[str], labels: Collection[str]) -> list[Problem]:
        """Return why labels are missing, if that folder is of labels."""
        wanted = set(scans) - set(labels)
        unread = [path.name for path in self.foreign if _names(path.name) & wanted]
        return [*self._convert(unread, "label"), *([] if labels else self._flatten())]

    def warnings(self) -> list[Problem]:
        """Return the warning that entries are skipped."""
        names = [*(path.name for path in (*self.foreign, *self.nested)), *self.others]
        if not names:
            return []
        what = f"{len(names)} entries are not scans and are skipped"
        if len(names) == 1:
            what = "1 entry is not a scan and is skipped"
        fix = CONVERT if self.foreign else self._move() if self.nested else ""
        return [Problem(what, str(self.folder), first_few(sorted(names)), SCANS, fix)]

    def _convert(self, names: Sequence[str], noun: str) -> list[Problem]:
        if not names:
            return []
        verb = "is" if len(names) == 1 else "are"
        what = f"{count(len(names), noun)} {verb} in a format that crossview does not read"
        return [Problem(what, str(self.folder), first_few(names), SCANS, CONVERT)]

    def _flatten(self) -> list[Problem]:
        if not self.nested:
            return []
        folder = self.nested[0]
        files = [path.relative_to(self.folder).as_posix() for path in _images_below(folder)]
        what = f"{self.folder.name}/ holds its files in subfolders, which are not read"
        found = f"{count(len(self.nested), 'subfolder')}, such as {folder.name}/ with "
        found += first_few(files, 3)
        expected = f"{SCANS} in {self.folder.name}/ itself"
        return [Problem(what, str(self.folder), found, expected, self._move())]

    def _move(self) -> str:
        """Return how to bring the files of subfolders to where they are read."""
        first = next(iter(_images_below(self.nested[0])))
        inner = first.relative_to(self.folder)
        new = "_".join((*inner.parent.parts, inner.name))
        if is_foreign(first.name):
            return f"{CONVERT}; give each scan a name of its own in {self.folder.name}/"
        here = f"{self.folder.name}/ under a name of its own"
        return f"move or link each file to {here}, such as {new}; its label has the same name"


def unread(folder: Path, entries: Sequence[Path]) -> Unread:
    """Sort the entries of a folder that are no scans by kind."""
    nested = [path for path in entries if path.is_dir() and next(_images_below(path), None)]
    foreign = [path for path in entries if path.is_file() and is_foreign(path.name)]
    left = [path for path in entries if path not in {*nested, *foreign}]
    others = [path.name for path in left if not _is_voxels(path)]
    return Unread(folder, tuple(foreign), tuple(nested), tuple(others))


def _is_voxels(path: Path) -> bool:
    """True if a file holds the voxels of a header beside it."""
    stem = VOXELS.sub("", path.name)
    return stem != path.name and any(
        (path.parent / (stem + suffix)).exists() for suffix in DETACHED
    )


def _names(file: str) -> set[str]:
    """Return the names that a scan in this file can have: with a channel number, and without."""
    name = Path(file.removesuffix(".gz").removesuffix(".GZ")).stem.removesuffix(".seg")
    match = CHANNEL.fullmatch(name)
    return {name, match["name"]} if match else {name}


def _images_below(folder: Path) -> Iterator[Path]:
    """Yield the images in a folder and its subfolders, of any format, by name."""
    depth = len(folder.parts)
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(Path(here).parts) - depth >= DEEPEST - 1:
            folders.clear()
        for name in sorted(files):
            if not name.startswith(".") and (
                split_name(name)[1] in UNPUBLISHED or is_foreign(name)
            ):
                yield Path(here) / name
