"""The source that reads a folder, and all cases it contains, with every available label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossview.data import sources
from crossview.data.case import Case
from crossview.data.sources import folder, layouts, lists
from crossview.errors import Problem, UserError

MARKS = {"acdc": "train_slices.list", "brats": "train.txt", "la": "train.list"}
"""The file that identifies a published layout; any other folder is read as a user's own."""


@dataclass(frozen=True)
class DataSet:
    """A whole data set.

    cases: by role, as in ``FolderCases`` ("labelled", "hidden", "unlabelled", "validation", "test",
    "unused"). classes: from the source or dataset.json, including the background; None if only the
    labels can show it. problems, warnings: of names and lists; with problems, cases may be missing.
    """

    source: str
    root: Path
    cases: Mapping[str, tuple[Case, ...]]
    classes: int | None = None
    class_names: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = field(default=())
    warnings: tuple[Problem, ...] = field(default=())


def recognise(root: Path) -> str:
    """Return the name of the source for a folder's layout. UserError if there is no such folder."""
    lists.existing_root(root, layouts.LAYOUT)
    return next((name for name, mark in MARKS.items() if (root / mark).is_file()), "folder")


def whole(source: str, root: Path) -> DataSet:
    """Return every case of a data set with its problems. UserError for a source without files."""
    module: Any = sources.find(source)
    if source == "phantom":
        raise UserError(
            Problem(
                "phantoms are made-up volumes: there are no files to check",
                "--source",
                source,
                ", ".join((*MARKS, "folder")),
            )
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
    found, problems = folder.survey(root)
    return DataSet(
        "folder",
        root,
        {
            role: getattr(found, role)
            for role in ("labelled", "hidden", "unlabelled", "validation", "test", "unused")
        },
        len(found.class_names) or None,
        found.class_names,
        found.channel_names or (),
        tuple(problems),
        found.warnings,
    )
