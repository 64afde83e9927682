"""``crossview check``: a whole data set, recognised, read once and checked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from crossview.core.errors import Problem, UserError, fail
from crossview.core.progress import Progress
from crossview.core.regions import Region
from crossview.data import sources
from crossview.data.case import Case
from crossview.data.checks.case import CaseFacts, inspect
from crossview.data.checks.classes import empty_regions
from crossview.data.checks.faulty import sound
from crossview.data.checks.findings import Facts, Finding
from crossview.data.checks.grid import on_grid, usual_grid_of
from crossview.data.checks.rules import check_set
from crossview.data.sources import lists
from crossview.data.sources.folder_cases import survey
from crossview.data.sources.layout import LAYOUT
from crossview.data.sources.partly import also_classes


@dataclass(frozen=True)
class ClassShare:
    """A class over all labels: its voxels, their share, and the number of cases with it."""

    value: int
    name: str
    voxels: int
    share: float
    cases: int


@dataclass(frozen=True)
class RegionShare:
    """A region over all labels: its classes, its voxels, and the number of cases with it."""

    name: str
    classes: tuple[int, ...]
    voxels: int
    share: float
    cases: int


@dataclass(frozen=True)
class Check:
    """A checked data set: its content and the findings."""

    data: DataSet
    facts: Facts
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def every(self) -> list[CaseFacts]:
        return [fact for of_role in self.facts.values() for fact in of_role]

    @property
    def read(self) -> list[CaseFacts]:
        """The facts of the cases whose image could be read."""
        return [fact for fact in self.every if fact.shape]

    @property
    def labels(self) -> list[CaseFacts]:
        """The facts of the cases whose labels are maps of classes."""
        maps = sound(self.facts, self.data.classes)
        return [fact for of_role in maps.values() for fact in of_role if fact.label_counts]

    def classes(self) -> list[ClassShare]:
        """Return every class that has a name or occurs in a label that is a map of classes."""
        counts = [fact.label_counts for fact in self.labels]
        names = self.data.class_names or ("background",)
        known = max([self.data.classes or 0, *(max(count) + 1 for count in counts)])
        voxels = [sum(count.get(value, 0) for count in counts) for value in range(known)]
        return [
            ClassShare(
                value,
                names[value] if value < len(names) else f"class {value}",
                voxels[value],
                voxels[value] / (sum(voxels) or 1),
                sum(value in count for count in counts),
            )
            for value in range(known)
            if voxels[value] or value < len(names)
        ]

    def regions(self) -> list[RegionShare]:
        """Return every region; [] for exclusive classes."""
        counts = [fact.label_counts for fact in self.labels]
        total = sum(sum(count.values()) for count in counts)
        shares = []
        for region in self.data.regions:
            voxels = [sum(count.get(value, 0) for value in region.classes) for count in counts]
            number, cases = sum(voxels), sum(each > 0 for each in voxels)
            share = number / (total or 1)
            shares.append(RegionShare(region.name, region.classes, number, share, cases))
        return shares

    def ranges(self) -> dict[str, dict[str, list[float]]]:
        """Return the smallest, median and largest shape, spacing and percentiles over the cases.

        Shape and spacing are per axis, percentiles per channel. {} if no image could be read.
        """
        rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        axes = {len(fact.shape) - 1 for fact in self.read}
        for fact in self.read:
            name = "shape" if len(axes) == 1 else f"shape of {len(fact.shape) - 1} axes"
            rows[name].append(fact.shape[1:])
            if fact.spacing:
                rows["spacing"].append(fact.spacing)
            for channel, percentiles in enumerate(fact.percentiles):
                rows[f"intensity of channel {channel}"].append(percentiles)
        tables = {name: np.array(values, np.float64) for name, values in rows.items()}
        return {
            name: {
                "smallest": table.min(axis=0).tolist(),
                "median": np.median(table, axis=0).tolist(),
                "largest": table.max(axis=0).tolist(),
            }
            for name, table in tables.items()
        }

    def as_json(self) -> dict[str, Any]:
        """Return the check for programs.

        "labelled_in_part" holds by case the share of voxels that nobody labelled. "classes" and
        "regions" leave out labels that are no maps of classes. "errors" and "warnings" hold what,
        where, found, expected, fix and cases.
        """
        return {
            "data": str(self.data.root),
            "source": self.data.source,
            "ok": not self.errors,
            "cases": {
                role: [fact.case.id for fact in of_role] for role, of_role in self.facts.items()
            },
            "labelled_in_part": {
                fact.case.id: fact.ignored / prod(fact.shape[1:])
                for fact in self.read
                if fact.ignored
            },
            "channels": max((fact.channels for fact in self.read), default=0),
            "channel_names": list(self.data.channel_names),
            "classes": [asdict(share) for share in self.classes()],
            "regions": [asdict(share) for share in self.regions()],
            "ranges": self.ranges(),
            "errors": [_finding(finding) for finding in self.errors],
            "warnings": [_finding(finding) for finding in self.warnings],
        }


def _finding(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding.problem), "cases": list(finding.cases)}


def check(
    data: Path | str,
    source: str | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Check:
    """Read every case of a data set once and collect all problems. Nothing is written.

    Args:
        data: Folder of the data set.
        source: Name of the source that reads the folder; None recognises the layout.
        workers: Number of reading threads; None chooses it.
        progress: Called with (cases read, cases in all).

    Returns:
        The content of the data set, with its problems in ``findings``.

    Raises:
        UserError: Only if the folder or the source does not exist.
    """
    root = Path(data)
    found = whole(source or recognise(root), root)
    cases = [case for of_role in found.cases.values() for case in of_role]
    read = iter(inspect(cases, found.classes, workers, progress))
    facts = {role: [next(read) for _ in of_role] for role, of_role in found.cases.items()}
    findings = [Finding("error", problem) for problem in found.problems]
    # A library that is missing is told once, with all its files, and not again by each of them.
    told = {replace(problem, where="") for problem in found.problems}
    of_set = check_set(facts, found.classes, str(root))
    findings += [finding for finding in of_set if finding.problem not in told]
    findings += empty_regions(facts, found.regions, str(root))
    if not found.classes:  # else the source knows
        shown = max(
            (max(fact.label_counts, default=0) for fact in sound(facts, None).get("labelled", ())),
            default=0,
        )
        problems = also_classes(found.ignore, (), shown + 1, str(root))
        findings += [Finding("error", problem) for problem in problems]
    if found.source == "folder":  # published sets are not resampled
        findings += on_grid(facts, usual_grid_of(facts))
    findings += [Finding("warning", problem) for problem in found.warnings]
    return Check(found, facts, tuple(sorted(findings, key=lambda finding: finding.severity)))


MARKS = {"acdc": "train_slices.list", "brats": "train.txt", "la": "train.list"}
"""The file that identifies a published layout; any other folder is read as a user's own."""


@dataclass(frozen=True)
class DataSet:
    """A whole data set.

    cases: by role, as in ``FolderCases`` ("labelled", "hidden", "unlabelled", "validation", "test",
    "unused"). classes: from the source or dataset.json, including the background; None if only the
    labels can show it. problems, warnings: of names and lists; with problems, cases may be missing.
    ignore, regions: as in ``FolderCases``.
    """

    source: str
    root: Path
    cases: Mapping[str, tuple[Case, ...]]
    classes: int | None = None
    class_names: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    ignore: int | None = None
    regions: tuple[Region, ...] = ()


def recognise(root: Path) -> str:
    """Return the name of the source for a folder's layout. UserError if there is no such folder."""
    lists.existing_root(root, LAYOUT)
    return next((name for name, mark in MARKS.items() if (root / mark).is_file()), "folder")


def whole(source: str, root: Path) -> DataSet:
    """Return every case of a data set with its problems. UserError for a source without files."""
    module: Any = sources.find(source)
    if source == "phantom":
        fail(
            "phantoms are made-up volumes: there are no files to check",
            "--source",
            found=source,
            expected=", ".join((*MARKS, "folder")),
        )
    try:
        if source == "folder":
            return _whole_folder(root)
        # A split with any one labelled case shows how many cases can be labelled.
        table = {"sampling": "crop", "augmentation": "none"}
        few = module.splits(root, module.Options(labelled=1, **table))
        most = len({case.patient for case in (*few.labelled, *few.unlabelled)})
        splits = module.splits(root, module.Options(labelled=most, **table))
    except UserError as error:
        return DataSet(source, root, {}, problems=error.problems)
    cases = {"labelled": splits.labelled, "validation": splits.validation, "test": splits.test}
    return DataSet(source, root, cases, splits.classes, splits.class_names)


def _whole_folder(root: Path) -> DataSet:
    found, problems = survey(root)
    return DataSet(
        "folder",
        root,
        found.by_role,
        len(found.class_names) or None,
        found.class_names,
        found.channel_names or (),
        tuple(problems),
        found.warnings,
        found.ignore,
        found.regions,
    )
