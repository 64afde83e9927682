"""Regions as a user states them: in dataset.json as for nnU-Net, or in split.toml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from crossview.core.errors import Problem, nearest
from crossview.core.regions import Region
from crossview.core.text import count, first_few, listed
from crossview.data.io.label_map import Item, LabelMap

ORDER = "regions_class_order"

KEYS = ("regions", ORDER)
"""Keys of split.toml."""


@dataclass(frozen=True)
class StatedRegions:
    """Regions in the words of a file.

    Attributes:
        members: For each region, values in label files and names of classes.
        order: For each region, the value that is written for it.
        where: The file.
    """

    members: Mapping[str, tuple[Item, ...]]
    order: tuple[int, ...]
    where: str


def read(table: Any, order: Any, where: str) -> tuple[StatedRegions | None, list[Problem]]:
    """Return the regions of a file, None for none, and its problems."""
    if table in (None, {}):
        what, fix = f"'{ORDER}' is stated without regions", "add a table [regions], or remove it"
        return None, [] if order is None else [Problem(what, where, repr(order)[:80], fix=fix)]
    form = "whole = [1, 2, 3], or core = 2: values from 1 to 255 and names of classes"
    if not isinstance(table, dict) or not all(map(_is_region, table.values())):
        what, fix = "the regions are not a table of label values", "write it in this form"
        return None, [Problem(what, where, repr(table)[:80], form, fix)]
    members = {
        str(name): tuple(found) if isinstance(found, list) else (found,)
        for name, found in table.items()
    }
    values = f"{count(len(members), 'label value')}, one for each of {listed(list(members))}"
    fix = f"write {ORDER} = [...]: the value that a prediction holds where a region is the last one"
    if order is None:
        return None, [Problem(f"'{ORDER}' is missing", where, expected=values, fix=fix)]
    if not isinstance(order, list) or not all(map(is_value, order)):
        what = f"'{ORDER}' is not a list of label values"
        return None, [Problem(what, where, repr(order)[:80], values, fix)]
    if len(order) != len(members):
        what = f"'{ORDER}' has another length than the regions"
        return None, [Problem(what, where, f"{count(len(order), 'value')}: {order}", values, fix)]
    return StatedRegions(members, tuple(order), where), []


def is_value(found: Any) -> bool:
    """True for a label value that may be a class."""
    return isinstance(found, int) and not isinstance(found, bool) and 1 <= found <= 255


def _is_region(found: Any) -> bool:
    items = found if isinstance(found, list) else [found]
    return bool(items) and all(isinstance(item, str) or is_value(item) for item in items)


def numbered(
    stated: StatedRegions | None, meaning: LabelMap, ignore: int | None, missing: bool
) -> tuple[tuple[Region, ...], list[Problem]]:
    """Return the regions by class numbers, and why they cannot be trained on.

    Args:
        stated: The regions, None for none.
        meaning: Values and names of the classes.
        ignore: The value of voxels that nobody labelled, or None.
        missing: True if scans exist that were not searched for some classes.
    """
    if stated is None:
        return (), []
    problems = [*_unknown(stated, meaning, ignore)]
    if missing:
        what, fix = "[missing] and regions cannot be combined", "mark such scans with 'ignore'"
        problems.append(Problem(what, stated.where, fix=fix))
    if problems:
        return (), problems
    regions = tuple(
        Region(name, tuple(sorted({_class_of(item, meaning) for item in items})), written)
        for (name, items), written in zip(
            stated.members.items(),
            (_class_of(value, meaning) for value in stated.order),
            strict=True,
        )
    )
    problems = [*unfit(regions, stated.where)]
    return (() if problems else regions), problems


def _class_of(item: Item, meaning: LabelMap) -> int:
    if isinstance(item, str):
        return meaning.by_name[item]
    return meaning.by_value[item] if meaning.entries else item


def _is_known(item: Item, meaning: LabelMap) -> bool:
    if isinstance(item, str):
        return meaning.by_name.get(item, 0) > 0
    if meaning.entries:
        return meaning.by_value.get(item, 0) > 0
    return not meaning.names or item < len(meaning.names)


def _unknown(stated: StatedRegions, meaning: LabelMap, ignore: int | None) -> Iterator[Problem]:
    names = [*meaning.names[1:]]
    values = [value for value, number in meaning.by_value.items() if number]
    known = listed([*map(str, values or range(1, len(meaning.names))), *names])
    for name, items in stated.members.items():
        if ignore is not None and ignore in items:
            what, fix = f"the region '{name}' contains the ignore value", f"remove {ignore} from it"
            yield Problem(what, stated.where, str(list(items)), "label values of classes", fix)
        elif wrong := [str(each) for each in items if not _is_known(each, meaning)]:
            what = f"the region '{name}' names an unknown label"
            fix = nearest(wrong[0], names) if names else ""
            yield Problem(what, stated.where, first_few(wrong), known, fix)
    if wrong := [str(each) for each in stated.order if not _is_known(each, meaning)]:
        what = f"'{ORDER}' names an unknown label value"
        yield Problem(what, stated.where, first_few(wrong), known)


def unfit(regions: Sequence[Region], where: str) -> Iterator[Problem]:
    """Yield why a label map cannot hold the regions, so that they can be read back from it."""
    for region in regions:
        if region.written not in region.classes:
            yield Problem(
                f"the value of '{region.name}' in '{ORDER}' is no label of this region",
                where,
                str(region.written),
                f"one of {listed(list(map(str, region.classes)))}",
                "the values have the order in which the regions are listed",
            )
    for one, two in combinations(regions, 2):
        first, second = {*one.classes}, {*two.classes}
        both = f"'{one.name}' = {list(one.classes)}, '{two.name}' = {list(two.classes)}"
        if first == second:
            what, fix = "two regions have the same labels", "remove one of them"
            yield Problem(what, where, both, "different labels", fix)
        elif first < second:
            what = f"the region '{two.name}' would be written over '{one.name}', which it contains"
            fix = f"list '{two.name}' before '{one.name}', its value too"
            yield Problem(what, where, both, "a region before the regions inside it", fix)
        elif first & second and not second < first:
            what = "two regions overlap, and neither contains the other"
            fix = "a label map cannot hold both where they meet: make a region of their overlap"
            yield Problem(what, where, both, "regions inside each other, or apart", fix)
        elif one.written in second:
            yield Problem(
                f"the value of '{one.name}' in '{ORDER}' is a label of '{two.name}', inside it",
                where,
                str(one.written),
                f"a label of '{one.name}' that is in no region inside it",
                f"remove '{two.name}' if no such label is left, or correct the order",
            )
