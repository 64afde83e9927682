"""Which source reads a folder, and all cases that the source finds in it, with every label that there is."""

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
"""The file by which a published layout is known; every other folder is taken for a user's own."""


@dataclass(frozen=True)
class DataSet:
    """A whole data set. cases: by role, as in ``FolderCases`` ("labelled", "hidden", "unlabelled", "validation", "test", "unused").

    classes: as source or dataset.json tell them, the background included; None where the labels must tell. problems, warnings: of
    names and lists; where there are problems, cases may be missing.
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
    """The name of the source whose layout a folder has. Raises UserError if there is no such folder."""
    lists.existing_root(root, layouts.LAYOUT)
    return next((name for name, mark in MARKS.items() if (root / mark).is_file()), "folder")


def whole(source: str, root: Path) -> DataSet:
    """Every case of a data set. Raises UserError for a source without files; what is wrong with the set is collected."""
    module: Any = sources.find(source)
    if source == "phantom":
        raise UserError(
            Problem(
                "phantoms are made up: there is nothing to check",
                "--source",
                source,
                ", ".join((*MARKS, "folder")),
            )
        )
    try:
        if source == "folder":
            return _whole_folder(root)
        # One labelled case, whoever that is, tells how many there are to be labelled.
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
