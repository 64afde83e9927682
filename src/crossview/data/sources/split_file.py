"""split.toml: which cases of a folder are labelled, for validation, for testing, unlabelled; and who the patients are."""

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
    """The lists of a split.toml, None for one that it doesn't have; and the patient of a case, by default the case itself."""

    lists: dict[str, list[str]] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)

    def names(self, key: str) -> list[str] | None:
        return self.lists.get(key)

    def patient(self, name: str) -> str:
        return self.patients.get(name, name)


def read_split(
    path: Path, names: Collection[str], labelled: Collection[str]
) -> tuple[Split, list[Problem]]:
    """The split and everything that is wrong with it; an empty one if there is no such file.

    names: of all cases. labelled: those that have labels. ``unlabelled`` may hold patterns ("site2_*"), which stand for the names that
    no other list holds; without a list ``labelled`` all cases with labels are labelled ones.
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
                "correct it, or take it away",
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
                        f"'{key}' is no list of names",
                        str(path),
                        repr(content[key])[:80],
                        '["case1", "case2"]',
                        "write it so",
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
    """Patterns replaced by the names that they match; one that matches none stays, and is told as a name that isn't there."""
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
                    "not the name of a case",
                    str(path),
                    repr(name),
                    "a file's name without folder and suffix",
                )
            )
        elif name not in names:
            problems.append(
                Problem(
                    f"'{keys[0]}' names a case that is not there",
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
                    "take it out of all lists but one",
                )
            )
        elif keys[0] != "unlabelled" and name not in labelled:
            fix = "add its label, or take it out of the list"
            problems.append(
                Problem(
                    f"'{keys[0]}' names a case without a label",
                    str(path),
                    name,
                    "cases that have labels",
                    fix,
                )
            )
    return problems


def _patients(
    table: Any, path: Path, names: Collection[str]
) -> tuple[dict[str, str], list[Problem]]:
    """The patient of each case: by ``pattern`` (a regular expression; its first group, or all that it matches), or case by case."""
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        return {}, [
            Problem(
                "[patient] is no table of names",
                str(path),
                expected='pattern = "(sub-[0-9]+)_.*", or case = "patient"',
            )
        ]
    named = {name: patient for name, patient in table.items() if name != "pattern"}
    problems = [
        Problem(
            "[patient] names a case that is not there",
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
                "[patient] pattern is no regular expression",
                str(path),
                found,
                "say (sub-[0-9]+)_.*",
                "correct it",
            ),
        ]
    matches = {name: pattern.match(name) for name in names if name not in named}
    if without := sorted(name for name, match in matches.items() if match is None):
        fix = "change the pattern, or add such cases by name"
        found = f"{len(without)}, the first is {without[0]}"
        problems.append(
            Problem(
                "[patient] pattern does not match every case", str(path), found, "all cases", fix
            )
        )
    by_pattern = {
        name: match[1 if pattern.groups else 0] or name for name, match in matches.items() if match
    }
    return by_pattern | named, problems
