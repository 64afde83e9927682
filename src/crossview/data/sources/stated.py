"""What label files hold for each class, as a folder states it.

In split.toml, else in dataset.json, else by the segments' names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossview.core.errors import Problem, UserError
from crossview.core.text import first_few
from crossview.data.io import ScanFiles
from crossview.data.io.label_map import Entry, Item, colliding
from crossview.data.sources.dataset_json import DatasetJson

KEYS = ("labels", "overlap")
"""Keys of split.toml."""

BACKGROUND = "background"

SEGMENTS = "the labels' segments"
"""States the classes of a folder where no file does, in the order in which labels name them."""

UNNAMED = re.compile(r"class ([1-9]\d{0,2})")
"""The name of a class that nothing names, as in drafts for a folder whose labels hold values."""


@dataclass(frozen=True)
class Stated:
    """What is stated of the classes in label files.

    Attributes:
        entries: For each class, the background first, its values and names of segments; () if
            values are class numbers.
        names: Names of the classes, background first; () if none are stated.
        order: Names of classes of which an earlier one counts where segments overlap.
        by: What states it.
    """

    entries: tuple[Entry, ...] = ()
    names: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    by: str = "dataset.json"

    def names_of(self, entries: Sequence[Entry], dataset: DatasetJson) -> tuple[str, ...]:
        """Return the names of the classes that are these in label files."""
        if tuple(entries) == self.entries and self.names:
            return self.names
        if all(isinstance(entry, int) for entry in entries):
            return dataset.names_of([entry for entry in entries if isinstance(entry, int)])
        of_item = {
            item: name
            for entry, name in zip(self.entries, self.names, strict=False)
            for item in _items(entry)
        }
        names = [BACKGROUND]
        for number, entry in enumerate(entries[1:], 1):
            known = (of_item[item] for item in _items(entry) if item in of_item)
            texts = (item for item in _items(entry) if isinstance(item, str))
            names.append(next(known, None) or next(texts, f"class {number}"))
        return tuple(names)


def _items(entry: Entry) -> tuple[Item, ...]:
    return entry if isinstance(entry, tuple) else (entry,)


def read(content: Mapping[str, Any], where: str) -> tuple[Stated | None, list[Problem]]:
    """Return what split.toml states, None for nothing, and its problems."""
    table, order = content.get("labels", {}), content.get("overlap", [])
    problems = []
    form = 'liver = 205, or tumour = [2, "Lesion"]: values from 0 to 255 and names of segments'
    if not isinstance(table, dict) or not all(map(_is_entry, table.values())):
        what = "[labels] is not a table of values and names"
        problems.append(Problem(what, where, repr(table)[:80], form, "write it in this form"))
        table = {}
    if not isinstance(order, list) or not all(isinstance(name, str) for name in order):
        what, expected = "'overlap' is not a list of names", '["tumour", "liver"]'
        problems.append(Problem(what, where, repr(order)[:80], expected, "the first one counts"))
        order = []
    background, *classes = (
        _entry(table.get(BACKGROUND, 0)),
        *(_entry(value) for name, value in table.items() if name != BACKGROUND),
    )
    zero = background if 0 in _items(background) else (0, *_items(background))
    names = (BACKGROUND, *(name for name in table if name != BACKGROUND))
    entries = (zero, *classes) if table else ()
    if twice := colliding(entries):
        found = first_few(list(map(str, twice)))
        what, fix = "[labels] states a value or name for two classes", "state each once"
        problems.append(Problem(what, where, found, "each value and name for one class", fix))
    unknown = [name for name in order if table and name not in names[1:]]
    if unknown:
        what, expected = "'overlap' lists names that are no class", first_few(list(names[1:]))
        problems.append(Problem(what, where, first_few(unknown), expected))
    if not table and not order:
        return None, problems
    return Stated(entries, names if table else (), tuple(order), "split.toml"), problems


def _is_entry(found: Any) -> bool:
    items = found if isinstance(found, list) else [found]
    return bool(items) and all(
        isinstance(item, str)
        or ((isinstance(item, int) and not isinstance(item, bool)) and 0 <= item <= 255)
        for item in items
    )


def _entry(found: Any) -> Entry:
    return tuple(found) if isinstance(found, list) else found


def of_folder(
    split: Stated | None, dataset: DatasetJson, scans: Iterable[ScanFiles]
) -> tuple[Stated, list[Problem]]:
    """Return what a folder states: split.toml first, then dataset.json, then its segments."""
    if split is not None and split.entries:
        return split, []
    order = split.order if split is not None else ()
    if dataset.class_names:
        return Stated(tuple(dataset.label_values), dataset.class_names, order), []
    names: dict[str, None] = {}
    for scan in scans:
        try:
            names |= dict.fromkeys(scan.segments if scan.label else ())
        except UserError:
            continue  # reading the label raises the reason
    if not names:
        return Stated((), (), order), []
    alike = sorted(
        name for name in names if [each.casefold() for each in names].count(name.casefold()) > 1
    )
    problems = []
    if alike:
        what = "names of segments differ in capitals only"
        fix = 'name them alike, or state under [labels] in split.toml: liver = ["liver", "Liver"]'
        problems.append(Problem(what, "labels", first_few(alike), "one name per class", fix))
    classes = [name for name in names if name != BACKGROUND]
    numbers = [int(match[1]) for name in classes if (match := UNNAMED.fullmatch(name))]
    if numbers and len(numbers) == len(classes):  # so other labels may hold these numbers as values
        named = (f"class {number}" for number in range(1, max(numbers) + 1))
        return Stated((), (BACKGROUND, *named), order, SEGMENTS), problems
    return Stated((0, *classes), (BACKGROUND, *classes), order, SEGMENTS), problems
