"""Channel and class names from dataset.json.

The formats of the Medical Segmentation Decathlon and of nnU-Net (versions 1 and 2).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from crossview.data.sources.lists import no_file
from crossview.errors import Problem

FIX = "correct the file, or remove it: classes then have no names"


@dataclass(frozen=True)
class DatasetJson:
    """The content of dataset.json; () for what it does not state.

    class_names: background first, "class k" for numbers without a name. images: the listed image
    paths, relative to the file's folder and inside it.
    """

    channel_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


def read_dataset_json(path: Path) -> tuple[DatasetJson, list[Problem]]:
    """Return the file's content and its problems; both empty if the file is missing."""
    if not path.is_file():
        return DatasetJson(), no_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        return DatasetJson(), [
            Problem(
                "dataset.json can't be read",
                str(path),
                str(error) or type(error).__name__,
                "JSON",
                FIX,
            )
        ]
    if not isinstance(content, dict):
        return DatasetJson(), [
            Problem(
                "dataset.json can't be read", str(path), type(content).__name__, "an object", FIX
            )
        ]
    problems: list[Problem] = []
    channels = content.get("channel_names", content.get("modality", {}))
    channel_names = _numbered_names(channels, path, "channel_names", problems)
    labels = content.get("labels", {})
    class_names = _numbered_names(labels, path, "labels", problems)
    if isinstance(labels, dict) and "ignore" in labels:
        fix = "give these voxels a class, or leave those scans unlabelled"
        problems.append(
            Problem(
                "an 'ignore' label is not supported",
                str(path),
                f"ignore = {labels['ignore']}",
                "classes only",
                fix,
            )
        )
    if class_names:
        class_names[0] = class_names.get(0, "background")
    listed = list(_listed_paths(content))
    for text in listed:
        if _leads_out(text):
            expected, fix = (
                "a path inside this folder",
                "move the scans into this folder, or link them",
            )
            problems.append(
                Problem(
                    "a path points outside the data folder", str(path), repr(text), expected, fix
                )
            )
    images = tuple(
        text
        for text in listed
        if not _leads_out(text) and PurePosixPath(text).as_posix().startswith("images")
    )
    return DatasetJson(
        _dense(channel_names, "channel"), _dense(class_names, "class"), images
    ), problems


def _numbered_names(table: Any, path: Path, key: str, problems: list[Problem]) -> dict[int, str]:
    """Return {number: name} from {"0": "background"} or {"background": 0}.

    Regions (lists of classes, nnU-Net 2) are skipped.
    """
    if not isinstance(table, dict):
        problems.append(
            Problem(
                f"'{key}' is not an object", str(path), repr(table)[:80], '{"0": "background", ...}'
            )
        )
        return {}
    names: dict[int, str] = {}
    for left, right in table.items():
        number, name = (left, right) if str(left).isdecimal() else (right, left)
        if isinstance(number, list):
            continue
        if (
            not isinstance(name, str | int)
            or isinstance(number, bool)
            or not str(number).isdecimal()
            or int(number) > 255
        ):
            found = f"{left!r}: {right!r}"[:80]
            problems.append(
                Problem(
                    f"'{key}' has an entry that can't be read",
                    str(path),
                    found,
                    "a number from 0 to 255 and a name",
                    FIX,
                )
            )
        elif int(number) in names:
            problems.append(
                Problem(f"'{key}' names a number twice", str(path), str(number), "each number once")
            )
        else:
            names[int(number)] = "".join(sign for sign in str(name) if sign.isprintable())
    return names


def _dense(names: dict[int, str], noun: str) -> tuple[str, ...]:
    return tuple(
        names.get(number, f"{noun} {number}") for number in range(max(names, default=-1) + 1)
    )


def _listed_paths(content: dict[str, Any]) -> Iterator[str]:
    """Yield every path in the Decathlon's lists and in nnU-Net's table of files ("dataset")."""
    dataset = content.get("dataset")
    entries = [*(dataset.values() if isinstance(dataset, dict) else ())]
    for key in ("training", "test", "validation"):
        entries += content[key] if isinstance(content.get(key), list) else []
    for entry in entries:
        values = entry.values() if isinstance(entry, dict) else [entry]
        for value in values:
            yield from (
                text
                for text in (value if isinstance(value, list) else [value])
                if isinstance(text, str)
            )


def _leads_out(text: str) -> bool:
    return any(
        kind(text).is_absolute() or kind(text).drive or ".." in kind(text).parts
        for kind in (PurePosixPath, PureWindowsPath)
    )
