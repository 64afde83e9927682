"""split.toml: the labelled, validation, test and unlabelled cases, and their patients."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from crossview.data.sources.lists import no_file
from crossview.errors import Problem, nearest

LISTS = ("labelled", "validation", "test", "unlabelled")


@dataclass
class Split:
    """The lists of a split.toml, and the patient of each case (by default the case itself)."""

    lists: dict[str, list[str]] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)

    def names(self, key: str) -> list[str] | None:
        return self.lists.get(key)

    def patient(self, name: str) -> str:
        return self.patients.get(name, name)


def read_split(
    path: Path, names: Collection[str], labelled: Collection[str]
) -> tuple[Split, list[Problem]]:
    """Return the split and its problems; an empty split if there is no such file.

    names: of all cases. labelled: names of cases with labels. The list ``unlabelled`` may contain
    patterns ("site2_*"), which match names in no other list. Without a list ``labelled``, all cases
    with labels are labelled.
    """
    if not path.is_file():
        return Split(), no_file(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        return Split(), [
            Problem(
                "split.toml can't be read",
                str(path),
                str(error),
                "TOML",
                "correct or remove the file",
            )
        ]
    known = (*LISTS, "patient")
    problems = [
        Problem(f"unknown key '{key}'", str(path), fix=nearest(key, known))
        for key in content
        if key not in known
    ]
    lists: dict[str, list[str]] = {}
    for key in LISTS:
        if key in content:
            if isinstance(content[key], list) and all(
                isinstance(name, str) for name in content[key]
            ):
                lists[key] = content[key]
            else:
                problems.append(
                    Problem(
                        f"'{key}' is not a list of names",
                        str(path),
                        repr(content[key])[:80],
                        '["case1", "case2"]',
                        "write it in this form",
                    )
                )
    if "unlabelled" in lists:
        taken = {name for key, listed in lists.items() if key != "unlabelled" for name in listed}
        taken |= set() if "labelled" in lists else set(labelled)
        lists["unlabelled"] = _matching(lists["unlabelled"], names, taken)
    problems += _wrong_names(lists, path, names, labelled)
    patients, wrong = _patients(content.get("patient", {}), path, names)
    return Split(
        {key: [name for name in listed if name in names] for key, listed in lists.items()}, patients
    ), problems + wrong


def _matching(patterns: list[str], names: Collection[str], taken: Collection[str]) -> list[str]:
    """Replace patterns by the names they match.

    A pattern without a match stays, and is then reported as an unknown case.
    """
    found = []
    for pattern in patterns:
        is_pattern = any(sign in pattern for sign in "*?[") and pattern not in names
        matching = (
            [name for name in sorted(names) if name not in taken and fnmatchcase(name, pattern)]
            if is_pattern
            else []
        )
        found += [name for name in matching if name not in found] or [pattern]
    return found


def _wrong_names(
    lists: Mapping[str, list[str]], path: Path, names: Collection[str], labelled: Collection[str]
) -> list[Problem]:
    problems = []
    for name, count in Counter(name for listed in lists.values() for name in listed).items():
        keys = [key for key in LISTS if name in lists.get(key, ())]
        if set(name) & set("/\\") or name in (".", ".."):
            problems.append(
                Problem(
                    "the list contains a path instead of a name",
                    str(path),
                    repr(name),
                    "a file name without folder and suffix",
                )
            )
        elif name not in names:
            problems.append(
                Problem(
                    f"'{keys[0]}' lists an unknown case",
                    str(path),
                    name,
                    fix=nearest(name, names) if names else "",
                )
            )
        elif count > 1:
            problems.append(
                Problem(
                    "a case is listed more than once",
                    str(path),
                    f"{name} in {' and '.join(keys)}",
                    "each case once",
                    "keep it in one list only",
                )
            )
        elif keys[0] != "unlabelled" and name not in labelled:
            fix = "add its label, or remove it from the list"
            problems.append(
                Problem(
                    f"'{keys[0]}' lists a case without a label",
                    str(path),
                    name,
                    "cases with labels",
                    fix,
                )
            )
    return problems


def _patients(
    table: Any, path: Path, names: Collection[str]
) -> tuple[dict[str, str], list[Problem]]:
    """Return the patient of each case.

    From ``pattern`` (a regular expression: its first group, else the whole match), or case by case.
    """
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        return {}, [
            Problem(
                "[patient] is not a table of names",
                str(path),
                expected='pattern = "(sub-[0-9]+)_.*", or case = "patient"',
            )
        ]
    named = {name: patient for name, patient in table.items() if name != "pattern"}
    problems = [
        Problem(
            "[patient] contains an unknown case",
            str(path),
            name,
            fix=nearest(name, names) if names else "",
        )
        for name in named
        if name not in names
    ]
    if "pattern" not in table:
        return named, problems
    try:
        pattern = re.compile(table["pattern"])
    except re.error as error:
        found = f"{table['pattern']}: {error}"
        return named, [
            *problems,
            Problem(
                "[patient] pattern is not a regular expression",
                str(path),
                found,
                "a pattern such as (sub-[0-9]+)_.*",
                "correct the pattern",
            ),
        ]
    matches = {name: pattern.match(name) for name in names if name not in named}
    if without := sorted(name for name, match in matches.items() if match is None):
        fix = "change the pattern, or add these cases by name"
        found = f"{len(without)} without a match, the first is {without[0]}"
        problems.append(
            Problem(
                "[patient] pattern does not match all cases",
                str(path),
                found,
                "a match for each case",
                fix,
            )
        )
    by_pattern = {
        name: match[1 if pattern.groups else 0] or name for name, match in matches.items() if match
    }
    return by_pattern | named, problems
