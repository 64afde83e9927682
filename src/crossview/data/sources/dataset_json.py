"""Channel and class names from dataset.json.

The formats of the Medical Segmentation Decathlon and of nnU-Net (versions 1 and 2).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from crossview.core.errors import Problem
from crossview.core.parse import from_json
from crossview.core.partial import IGNORED
from crossview.core.text import first_few
from crossview.data.sources import regions
from crossview.data.sources.lists import no_file
from crossview.data.sources.regions import StatedRegions

FIX = "correct the file, or remove it: classes then have no names"


@dataclass(frozen=True)
class DatasetJson:
    """The content of dataset.json; () for what it does not state.

    class_names: background first, "class k" for numbers without a name. label_values: the value of
    each class in the label files, if that is not the class's number; ``class_names`` are then of
    these values only. ignore: the value of voxels that nobody labelled, or None. images: the listed
    image paths, relative to the file's folder and inside it. regions: nnU-Net's, or None; classes
    then have no names of their own.
    """

    channel_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    label_values: tuple[int, ...] = ()
    images: tuple[str, ...] = ()
    ignore: int | None = None
    regions: StatedRegions | None = None

    def names_of(self, values: Sequence[int]) -> tuple[str, ...]:
        """Return the names of the classes whose values in label files are these.

        values: () if label files hold class numbers.
        """
        if tuple(values) == self.label_values:
            return self.class_names
        stated = dict(zip(self.label_values or range(256), self.class_names, strict=False))
        if values:
            return tuple(stated.get(value, f"class {k}") for k, value in enumerate(values))
        return _dense(stated, "class")


def read_dataset_json(path: Path) -> tuple[DatasetJson, list[Problem]]:
    """Return the file's content and its problems; both empty if the file is missing."""
    if not path.is_file():
        return DatasetJson(), no_file(path)
    where, unreadable = str(path), "dataset.json can't be read"
    try:
        content = from_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        found = str(error)
        return DatasetJson(), [Problem(unreadable, where, found, "JSON", FIX)]
    if not isinstance(content, dict):
        found = type(content).__name__
        return DatasetJson(), [Problem(unreadable, where, found, "an object", FIX)]
    problems: list[Problem] = []
    channels = content.get("channel_names", content.get("modality", {}))
    channel_names = _numbered_names(channels, where, "channel_names", problems)
    labels = content.get("labels", {})
    ignore, labels = _without_ignore(labels)
    of_regions, labels, wrong = _regions(labels, content.get(regions.ORDER), where)
    problems += wrong
    class_names = _numbered_names(labels, where, "labels", problems)
    problems += _moved_background(class_names, where)
    if class_names:
        class_names[0] = class_names.get(0, "background")
    values = tuple(sorted(class_names)) if _are_no_numbers(class_names) else ()
    images = []
    for text in _listed_paths(content):
        if _leads_out(text):
            problems.append(
                Problem(
                    "a path points outside the data folder",
                    where,
                    repr(text),
                    "a path inside this folder",
                    "move the scans into this folder, or link them",
                )
            )
        elif PurePosixPath(text).as_posix().startswith("images"):
            images.append(text)
    of_classes = tuple(class_names[value] for value in values) or _dense(class_names, "class")
    names = _dense(channel_names, "channel"), of_classes
    return DatasetJson(*names, values, tuple(images), ignore, of_regions), problems


def _are_no_numbers(names: Collection[int]) -> bool:
    """True if stated label values can't be class numbers: more are left out than stated.

    So 0 and 255 are the values of two classes, but 0, 1, 2 and 4 are class numbers with a gap.
    """
    return max(names, default=0) + 1 - len(names) > len(names) - 1


def _without_ignore(labels: Any) -> tuple[int | None, Any]:
    """Return the value of nnU-Net's "ignore" label, and the other labels.

    An entry without a number is left, to be a problem of its own.
    """
    if not isinstance(labels, dict):
        return None, labels
    ignore, others = None, {}
    for left, right in labels.items():
        number = right if str(left).strip().casefold() == "ignore" else left
        is_ignore = "ignore" in (str(each).strip().casefold() for each in (left, right))
        if is_ignore and str(number).isdecimal() and 0 < int(number) <= IGNORED:
            ignore = int(number)
        else:
            others[left] = right
    return ignore, others


def _moved_background(class_names: dict[int, str], where: str) -> list[Problem]:
    """Return the problem of a background that is not 0: classes would be exchanged in silence."""
    moved = [
        f"{name} = {value}"
        for value, name in class_names.items()
        if value and name.strip().casefold() == "background"
    ]
    if not moved:
        return []
    what, fix = "the background is not 0", "number the labels so that the background is 0"
    return [Problem(what, where, first_few(moved), "background = 0, classes from 1", fix)]


def _regions(
    labels: Any, order: Any, where: str
) -> tuple[StatedRegions | None, Any, list[Problem]]:
    """Return nnU-Net's regions, None for none, the labels that they consist of, and problems.

    As there, several values for one name make all names regions.
    """
    if not isinstance(labels, dict):
        return None, labels, []
    plain = {
        name: found[0] if isinstance(found, list) and len(found) == 1 else found
        for name, found in labels.items()
    }
    if not any(isinstance(found, list) for found in plain.values()):
        return None, plain, []
    table = {name: found for name, found in plain.items() if name != "0" and found not in (0, "0")}
    stated, problems = regions.read(table, order, where)
    lists = [found if isinstance(found, list) else [found] for found in table.values()]
    values = sorted({each for items in lists for each in items if regions.is_value(each)})
    dense = _are_no_numbers([0, *values])
    names = {str(value): f"class {k if dense else value}" for k, value in enumerate(values, 1)}
    return stated, {"0": "background"} | names, problems


def _numbered_names(table: Any, where: str, key: str, problems: list[Problem]) -> dict[int, str]:
    """Return {number: name} from {"0": "background"} or {"background": 0}."""
    if not isinstance(table, dict):
        expected = '{"0": "background", ...}'
        problems.append(Problem(f"'{key}' is not an object", where, repr(table)[:80], expected))
        return {}
    names: dict[int, str] = {}
    for left, right in table.items():
        number, name = (left, right) if str(left).isdecimal() else (right, left)
        # Python converts no text of more than 4,300 digits.
        is_number = not isinstance(number, bool) and str(number).isdecimal()
        if not isinstance(name, str | int) or not is_number or float(number) > 255:
            problems.append(
                Problem(
                    f"'{key}' has an entry that can't be read",
                    where,
                    f"{left!r}: {right!r}"[:80],
                    "a number from 0 to 255 and a name",
                    FIX,
                )
            )
        elif int(number) in names:
            what = f"'{key}' names a number twice"
            problems.append(Problem(what, where, str(number), "each number once"))
        else:
            names[int(number)] = "".join(sign for sign in str(name) if sign.isprintable())
    return names


def _dense(names: dict[int, str], noun: str) -> tuple[str, ...]:
    numbers = range(max(names, default=-1) + 1)
    return tuple(names.get(number, "").strip() or f"{noun} {number}" for number in numbers)


def _listed_paths(content: dict[str, Any]) -> Iterator[str]:
    """Yield every path in the Decathlon's lists and in nnU-Net's table of files ("dataset")."""
    dataset = content.get("dataset")
    entries = [*(dataset.values() if isinstance(dataset, dict) else ())]
    for key in ("training", "test", "validation"):
        entries += content[key] if isinstance(content.get(key), list) else []
    for entry in entries:
        values = entry.values() if isinstance(entry, dict) else [entry]
        for value in values:
            texts = value if isinstance(value, list) else [value]
            yield from (text for text in texts if isinstance(text, str))


def _leads_out(text: str) -> bool:
    return any(
        kind(text).is_absolute() or kind(text).drive or ".." in kind(text).parts
        for kind in (PurePosixPath, PureWindowsPath)
    )
