"""The classes of a label: by the values in its file, or by the names of its segments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import fail, nearest
from crossview.core.text import first_few

Item = int | str
"""A value in label files, or the name of a segment."""

Entry = Item | tuple[Item, ...]
"""What a class is in label files."""

MAP = 'state it under [labels] in split.toml, such as liver = [205, "Liver"]'


@dataclass(frozen=True)
class LabelMap:
    """What label files hold for each class.

    Attributes:
        entries: For each class, the background first, its values and names of segments; () if
            values are class numbers.
        names: Names of the classes, background first; segments have them too.
        order: Names of classes of which an earlier one counts where segments overlap.
    """

    entries: tuple[Entry, ...] = ()
    names: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    @property
    def items(self) -> list[tuple[Item, ...]]:
        """The values and names of each class."""
        return [entry if isinstance(entry, tuple) else (entry,) for entry in self.entries]

    @cached_property
    def by_name(self) -> dict[str, int]:
        """The class of each name of a segment.

        Where nothing names the classes, drafts call them "class 1", "class 2" ...
        """
        unnamed = ("background", *(f"class {number}" for number in range(1, 256)))
        names = self.names if self.names or self.entries else unnamed
        classes = {name: number for number, name in enumerate(names)}
        for number, items in enumerate(self.items):
            classes |= {item: number for item in items if isinstance(item, str)}
        return classes

    @cached_property
    def by_value(self) -> dict[int, int]:
        """The class of each value; {} if values are class numbers."""
        return {
            item: number
            for number, items in enumerate(self.items)
            for item in items
            if isinstance(item, int)
        }

    @property
    def white_is_one(self) -> bool:
        """True if 255 is class 1 in a mask that holds nothing else, not a stated value of many."""
        return 255 not in self.by_value or {*self.by_value} == {0, 255}

    @property
    def written(self) -> tuple[int, ...]:
        """The value of each class in predicted files; () for class numbers."""
        return written_values(self.entries)

    def of_values(self, stored: NDArray[np.uint8], path: Path, masks: bool) -> NDArray[np.uint8]:
        """Return class numbers for the values in a label file. UserError for any other value.

        masks: 0 and 255 may have been read as 0 and 1, as in every mask that holds only these.
        """
        if not self.entries:
            return stored
        table, known = np.zeros(256, np.uint8), np.zeros(256, bool)
        for value, number in self.by_value.items():
            table[value], known[value] = number, True
        if masks and {*self.by_value} == {0, 255}:
            table[1], known[1] = self.by_value[255], True
        if not known[stored].all():
            self._refuse([str(value) for value in np.unique(stored[~known[stored]])], path)
        return table[stored]

    def _refuse(self, values: Sequence[str], path: Path) -> NoReturn:
        """Raise UserError for values in a label file that no class has."""
        what, found = "the label contains values without a class", f"values {first_few(values)}"
        names = [name for name in self.by_name if name != "background"]
        if not {*self.by_value} - {0} and names:
            fail(
                what,
                path,
                found=found,
                expected=f"segments named {first_few(names)}: other labels have names for the "
                "classes, and nothing says which value is which",
                fix="state names and values under [labels] in split.toml, in the order of the "
                f'classes, such as {json.dumps(names[0])} = ["{names[0]}", {values[0]}]; a run '
                "keeps the statement that it was trained with (data.label_values)",
            )
        fail(
            what,
            path,
            found=found,
            expected=f"the values {', '.join(map(str, sorted(self.by_value)))} only, as "
            "dataset.json or split.toml and data.label_values state",
            fix=f"correct the label, or {MAP}",
        )

    def of_segments(
        self, names: Sequence[str], layers: Sequence[NDArray[np.uint8]], path: Path
    ) -> NDArray[np.uint8]:
        """Return class numbers for named segments.

        Args:
            names: The segments' names.
            layers: Arrays of one shape that hold 1 for the first segment, 2 for the second, ...;
                0 for none.
            path: The file.

        Raises:
            UserError: If two segments have one name, a name is no class, or segments of different
                classes overlap without a stated order.
        """
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            fail(
                "two segments have the same name",
                path,
                found=first_few(twice),
                expected="a different name for each segment",
                fix="rename or merge them",
            )
        unknown = [name for name in names if name not in self.by_name]
        if unknown:
            known = [name for name in self.by_name if name != "background"]
            fail(
                "a segment's name is no class",
                path,
                found=first_few(unknown),
                expected=f"the names {first_few(known)}" if known else "names of classes",
                fix=" ".join(filter(None, (nearest(unknown[0], known), f"Rename it, or {MAP}"))),
            )
        table = np.array([0, *(self.by_name[name] for name in names)], np.uint8)
        first, *others = (table[layer] for layer in layers)
        for layer in others:
            first = self._over(first, layer, path)
        return first

    def _over(
        self, one: NDArray[np.uint8], two: NDArray[np.uint8], path: Path
    ) -> NDArray[np.uint8]:
        """Return two layers in one, where both have a class by the stated order."""
        both = (one > 0) & (two > 0) & (one != two)
        result = np.where(one > 0, one, two)
        if not both.any():
            return result
        rank = {self.by_name[name]: place for place, name in enumerate(reversed(self.order), 1)}
        unranked = sorted(({*np.unique(one[both])} | {*np.unique(two[both])}) - {*rank})
        if unranked:
            pairs = {(int(a), int(b)) for a, b in zip(one[both], two[both], strict=True)}
            shown = [" and ".join(self.names[number] for number in pair) for pair in sorted(pairs)]
            fail(
                "segments of the label overlap",
                path,
                found=f"{np.count_nonzero(both):,} voxels of {first_few(shown)}",
                expected="one class per voxel, or an order of the classes",
                fix="correct the label, or state in split.toml which class counts, the first of "
                f'overlap = ["{self.names[max(pairs)[1]]}", "{self.names[max(pairs)[0]]}"]',
            )
        ranks = np.array([rank.get(number, 0) for number in range(256)])
        result[both] = np.where(ranks[one] >= ranks[two], one, two)[both]
        return result


def written_values(entries: Sequence[Entry]) -> tuple[int, ...]:
    """Return the value of each class in predicted files: its first value, else its number.

    () if these are the class numbers.
    """
    values = []
    for number, entry in enumerate(entries):
        items = entry if isinstance(entry, tuple) else (entry,)
        values.append(next((item for item in items if isinstance(item, int)), number))
    return () if values == list(range(len(values))) else tuple(values)


def colliding(entries: Sequence[Entry]) -> Mapping[Item, int]:
    """Return the values and names that are stated for more than one class."""
    stated = [
        item
        for entry in entries
        for item in dict.fromkeys(entry if isinstance(entry, tuple) else (entry,))
    ]
    written = written_values(entries)
    counts = {item: stated.count(item) for item in stated}
    counts |= {value: written.count(value) for value in written if written.count(value) > 1}
    return {item: number for item, number in counts.items() if number > 1}
