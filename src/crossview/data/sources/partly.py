"""Partial labels as a user states them: open voxels, labelled slices, classes not searched for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem, fail, nearest
from crossview.core.partial import IGNORED, PartialLabels
from crossview.core.text import first_few, listed

KEYS = ("ignore", "slices", "missing")
"""Keys of split.toml."""

COMMENT = "the file's third axis, counted from 0"


@dataclass(frozen=True)
class Partly:
    """What the label files of a folder leave open.

    ignore: the value of voxels that nobody labelled, or None. slices: by case, the labelled slices
    along the third axis as stored, from 0; cases that are not named are labelled in every slice.
    missing: by case, the classes that it was not searched for, ascending.
    """

    ignore: int | None = None
    slices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    missing: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def labels(self) -> PartialLabels | None:
        """The values of labels in memory that are no class, None if the folder states none."""
        if self.ignore is None and not self.slices and not self.missing:
            return None
        return PartialLabels(tuple(sorted({(0, *classes) for classes in self.missing.values()})))

    def ignored(self, stored: NDArray[np.uint8], case: str) -> NDArray[np.bool_]:
        """Return the voxels of a label as stored, (*S), that nobody labelled."""
        found: NDArray[np.bool_] = np.zeros(stored.shape, bool)
        if self.ignore is not None:
            found = stored == self.ignore
        if case in self.slices:
            labelled = np.isin(np.arange(stored.shape[-1]), self.slices[case])
            found[..., ~labelled] = True
        return found

    def marked(
        self, classes: NDArray[np.uint8], ignored: NDArray[np.bool_], case: str, path: Path
    ) -> NDArray[np.uint8]:
        """Return a label (*S) with the values of :mod:`crossview.core.partial`.

        UserError if a class has one of these values, or a class is there that ``missing`` names.
        """
        partial, missing = self.labels or PartialLabels(), self.missing.get(case, ())
        lowest = partial.lowest
        if (classes >= lowest).any():
            fail(
                "the label has a class of a value that partial labels need for themselves",
                path,
                found=f"value {int(classes.max())}",
                expected=f"classes below {lowest}",
                fix="number the classes 0 (background), 1, 2, ...; if the value marks voxels that "
                "nobody labelled, state it as 'ignore' in split.toml",
            )
        if missing:
            there = sorted({*np.unique(classes)} & {*missing})
            if there:
                fail(
                    "the label shows a class that split.toml says its scan was not searched for",
                    path,
                    found=f"class {', '.join(map(str, there))}",
                    expected=f"none of the classes {', '.join(map(str, missing))}",
                    fix="remove it from [missing], or from the label",
                )
            value = np.uint8(partial.value((0, *missing)))
            classes = np.where(classes == 0, value, classes)
        return np.where(ignored, np.uint8(IGNORED), classes)


def read(content: Mapping[str, Any], where: str) -> tuple[Partly, list[Problem]]:
    """Return what split.toml states, and its problems. Names may be patterns."""
    problems = []
    ignore, slices = content.get("ignore"), content.get("slices", {})
    if ignore is not None and not _is_index(ignore, 1, IGNORED):
        problems.append(
            Problem(
                "'ignore' is not a label value",
                where,
                repr(ignore)[:80],
                f"a whole number from 1 to {IGNORED}",
                "write the value of the voxels that nobody labelled",
            )
        )
        ignore = None
    if not isinstance(slices, dict) or not all(map(_are_slices, slices.values())):
        problems.append(
            Problem(
                "[slices] is not a table of labelled slices",
                where,
                repr(slices)[:80],
                f"case = [0, 4, 8] ({COMMENT})",
                "write it in this form",
            )
        )
        slices = {}
    missing = content.get("missing", {})
    if not isinstance(missing, dict) or not all(map(_are_classes, missing.values())):
        expected = 'case = ["tumour"], names or numbers of classes'
        fix = "write it in this form"
        what = "[missing] is not a table of classes"
        problems.append(Problem(what, where, repr(missing)[:80], expected, fix))
        missing = {}
    return Partly(
        ignore,
        *({key: tuple(found) for key, found in table.items()} for table in (slices, missing)),
    ), problems


def _is_index(value: Any, first: int, last: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and first <= value <= last


def _are_slices(found: Any) -> bool:
    return isinstance(found, list) and all(_is_index(each, 0, 2**31) for each in found)


def _are_classes(found: Any) -> bool:
    return (
        isinstance(found, list)
        and bool(found)
        and all(isinstance(each, str) or _is_index(each, 1, IGNORED) for each in found)
    )


def numbered(
    missing: Mapping[str, Sequence[str | int]], names: Sequence[str], where: str
) -> tuple[dict[str, tuple[int, ...]], list[Problem]]:
    """Return the classes that cases were not searched for as numbers, and a problem per wrong one.

    names: of the classes, background first, () if no file names them.
    """
    problems = []
    every = {each for classes in missing.values() for each in classes}
    for wrong in sorted(map(str, every - {*names[1:]} - {*range(1, len(names) or IGNORED)})):
        what = "[missing] lists an unknown class"
        fix = "name the classes in dataset.json, or give their numbers"
        if names:
            fix = nearest(wrong, names[1:])
        problems.append(Problem(what, where, wrong, listed(list(names[1:])), fix))
    if problems:
        return {}, problems
    return {
        case: tuple(
            sorted({each if isinstance(each, int) else names.index(each) for each in classes})
        )
        for case, classes in missing.items()
    }, []


def agreed(split: int | None, dataset: int | None, where: str) -> tuple[int | None, list[Problem]]:
    """Return the ignore value of split.toml or dataset.json, and a problem if they differ."""
    if None in (split, dataset) or split == dataset:
        return (dataset if split is None else split), []
    found = f"{split} in split.toml, {dataset} in dataset.json"
    fix = "correct one of them, or remove it"
    return split, [Problem("two ignore values are stated", where, found, "one value", fix)]


def also_classes(
    ignore: int | None, values: Sequence[int], classes: int, where: str
) -> list[Problem]:
    """Return a problem if the ignore value is a class, or lies among them.

    Args:
        ignore: The ignore value, or None.
        values: Values of the classes in label files; () if they are class numbers.
        classes: Number of classes; 0 if it is not known.
        where: Folder of the data set.
    """
    if ignore is None or (ignore not in values if values else ignore >= classes):
        return []
    found = listed([str(value) for value in values]) if values else f"0 to {classes - 1}"
    return [
        Problem(
            "the ignore value is also a class",
            where,
            f"ignore = {ignore}, classes {found}",
            "a value of its own, above those of the classes",
            "give unlabelled voxels another value, such as 255, or correct 'ignore'",
        )
    ]


def unfit_slices(
    slices: Mapping[str, Sequence[int]],
    depths: Mapping[str, int | None],
    labelled: Collection[str],
    where: str,
) -> list[Problem]:
    """Return the problems of the slices listed for cases.

    Args:
        slices: By name of a case.
        depths: By name of a case, its number of slices; 0 for a 2D image, None if unknown.
        labelled: Cases with a label.
        where: The file, for messages.
    """
    flat = [name for name in slices if depths.get(name) == 0]
    without = [name for name in slices if name in depths and name not in labelled]
    beyond = [
        f"{name} (slice {max(of_case)} of {depth})"
        for name, of_case in slices.items()
        if of_case and (depth := depths.get(name)) and max(of_case) >= depth
    ]
    problems = []
    for what, names, expected in (
        ("[slices] lists 2D images", flat, "volumes"),
        ("[slices] lists cases without a label", without, "cases with labels"),
        ("[slices] lists slices that do not exist", beyond, COMMENT),
    ):
        if names:
            problems.append(Problem(what, where, first_few(names), expected))
    return problems
