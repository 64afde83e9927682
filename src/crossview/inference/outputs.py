"""The files of predictions: their names in the output folder, and what may be written there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from crossview.core.errors import Problem, fail
from crossview.core.files import check_writable
from crossview.core.text import first_few
from crossview.data.io import ScanFiles, split_name
from crossview.data.io.segments import Segments
from crossview.data.io.volumes import Stored, Volumes
from crossview.inference.assembly import MapName, Segmentation
from crossview.inference.origin import Origin, Record, described


@dataclass(frozen=True)
class Outputs:
    """The output folder and what is written to it.

    Attributes:
        folder: The output folder.
        maps: Maps that are written next to each label.
        resume: Skip scans whose files all exist; replace incomplete ones.
        overwrite: Replace existing files.
        origin: The model of the predictions, recorded in the folder.
        label_values: The values of the classes in label files; () for class numbers.
        segments: How labels are written, None for the format of the maps.
        regions: Names of the regions, each with a map of its probability; () for classes.
    """

    folder: Path
    maps: tuple[MapName, ...] = ()
    resume: bool = False
    overwrite: bool = False
    origin: Origin | None = None
    label_values: tuple[int, ...] = ()
    segments: Segments | None = None
    regions: tuple[str, ...] = ()

    def arrays(self, prediction: Segmentation) -> dict[str, Stored]:
        """Return the arrays of a prediction that are written, by name."""
        label = prediction.label
        if self.label_values:
            label = np.array(self.label_values, np.uint8)[label]
        maps: dict[str, Stored] = {}
        for name, found in prediction.maps.items():
            of_regions = self._of_regions(name)
            for index, part in enumerate(of_regions):
                maps[part] = found.volume(index) if isinstance(found, Volumes) else found[index]
            if not of_regions:
                maps[name] = found
        return {**maps, "label": label}

    def _of_regions(self, name: str) -> dict[str, Path]:
        """Return the arrays of a map, each with its folder: one per region, {} if it is whole."""
        if name != "probability":
            return {}
        safe = [re.sub(r"[^\w-]+", "_", region) for region in self.regions]
        if len({each.casefold() for each in safe}) < len(safe):
            safe = [f"{number}_{each}" for number, each in enumerate(safe, 1)]
        return {f"{name}_{each}": self.folder / name / each for each in safe}

    def _folders(self) -> dict[str, Path]:
        """Return the folder of each array that is a map."""
        folders: dict[str, Path] = {}
        for each in self.maps:
            folders |= self._of_regions(each) or {each: self.folder / each}
        return folders

    def files(self, scan: ScanFiles) -> dict[str, Path]:
        """Return the file of each array of a scan's prediction.

        The label is last, so an existing label means that its maps exist too. Maps have separate
        folders, so the label folder contains only labels; the file of a published layout contains
        all arrays.
        """
        written, suffix = scan.written_as
        of_label = self.segments.form.suffix if self.segments else suffix
        label = self.folder / f"{scan.name}{of_label}"
        if written.published:
            return dict.fromkeys([*self._folders(), "label"], label)
        name = f"{scan.name}{written.map_suffix or suffix}"
        return {each: of / name for each, of in self._folders().items()} | {"label": label}

    def skips(self, scan: ScanFiles) -> bool:
        """True if the scan is predicted already and ``resume`` keeps its files."""
        return self.resume and all(file.exists() for file in self.files(scan).values())

    def problems(self, scans: Sequence[ScanFiles]) -> list[Problem]:
        """Return the problems that prevent writing the predictions of ``scans``.

        Raises UserError if the folder cannot be written to.
        """
        check_writable(self.folder)
        inputs = {_identity(file) for scan in scans for file in scan.files}
        owners: dict[Path, ScanFiles] = {}
        existing: list[Path] = []
        problems = unfit(self.segments, scans)
        for scan in scans:
            for file in dict.fromkeys(self.files(scan).values()):
                owner = owners.setdefault(file, scan)
                if owner is not scan:
                    what, found = (
                        "two scans have the same output",
                        f"{owner.files[0]} and {scan.files[0]}",
                    )
                    fix = "predict them to different folders"
                    problems.append(Problem(what, str(file), found, "different names", fix))
                elif file.exists() and _identity(file) in inputs:
                    what = "the prediction would overwrite an input"
                    problems.append(Problem(what, str(file), fix="choose another --out"))
                elif file.exists() and not (self.overwrite or self.resume):
                    existing.append(file)
        return problems + self._existing(existing)

    def _existing(self, files: Sequence[Path]) -> list[Problem]:
        if not files:
            return []
        what, where = "the prediction already exists", files[0]
        if len(files) > 1:
            what, where = f"{len(files)} files of these predictions already exist", self.folder
        names = first_few([str(file.relative_to(self.folder)) for file in files])
        fix = (
            "add --resume to keep them and predict the others, add --overwrite to replace them, or "
            "choose another --out"
        )
        return [Problem(what, str(where), names, fix=fix)]

    def check_origin(self) -> None:
        """Raise UserError if the folder records a different origin, unless it is overwritten."""
        record = Record.read(self.folder)
        if self.origin and record.main not in (None, self.origin) and not self.overwrite:
            fail(
                "this folder already contains predictions of a different model",
                self.folder,
                found=described(record.main),
                expected=described(self.origin),
                fix="choose another --out, or add --overwrite to replace the predictions of the "
                "given scans",
            )

    def take_over(self, scans: Sequence[ScanFiles]) -> None:
        """Record this model as the folder's if it will replace all predictions there. OSError.

        Each prediction is the other model's until it is written.
        """
        record = Record.read(self.folder)
        if self.origin is None or record.main in (None, self.origin):
            return
        new = {self.files(scan)["label"].name for scan in scans}
        files = [file.name for file in self.folder.iterdir() if file.is_file()]
        old = {name for name in files if split_name(name)[1]}
        if old <= new:
            record.lead(self.origin, old).write(self.folder)

    def remains(self, scans: Sequence[ScanFiles]) -> list[Path]:
        """Return other files of these scans in the folder: earlier labels and maps. OSError.

        They are of another format, or maps that are not written now.
        """
        names = {scan.name for scan in scans}
        known = [file for scan in scans for file in (*self.files(scan).values(), *scan.files)]
        ours = {_identity(file) for file in known if file.exists()}  # one may have failed
        found = list(self.folder.glob("*"))  # no folder was made if all scans failed
        for each in get_args(MapName):
            found += (self.folder / each).rglob("*")
        return sorted(
            file
            for file in found
            if file.is_file()
            and split_name(file.name)[1]
            and split_name(file.name)[0] in names
            and _identity(file) not in ours
        )

    def note_origin(self, label: Path) -> None:
        """Record the model of a label's file in the folder. OSError."""
        if self.origin is None:
            return
        record = Record.read(self.folder)
        if record.of(label.name) != self.origin:
            record.assign(label.name, self.origin).write(self.folder)


def unfit(segments: Segments | None, scans: Sequence[ScanFiles]) -> list[Problem]:
    """Return a problem if a format of labels is not written for some of the scans."""
    if segments is None:
        return []
    source = segments.form.source
    names = [
        scan.files[0].name
        for scan in scans
        if source not in ("", scan.format.name) or scan.format.flat or scan.format.published
    ]
    if not names:
        return []
    source = source or "volume"
    what = f"this format is written for {source} scans only"
    fix = f"leave out --format for scans of other formats, or give their {source} files"
    return [Problem(what, "--format", first_few(names), f"{source} scans", fix)]


def _identity(file: Path) -> tuple[int, int]:
    """Return what two paths of one file share."""
    status = file.stat()
    return status.st_dev, status.st_ino
