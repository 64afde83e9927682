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

from crossview.core.errors import Problem, nearest
from crossview.data.sources.lists import no_file

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
    where = str(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        fix = "correct or remove the file"
        return Split(), [Problem("split.toml can't be read", where, str(error), "TOML", fix)]
    known = (*LISTS, "patient")
    problems = [
        Problem(f"unknown key '{key}'", where, fix=nearest(key, known))
        for key in content
        if key not in known
    ]
    lists: dict[str, list[str]] = {}
    for key in (key for key in LISTS if key in content):
        found = content[key]
        if isinstance(found, list) and all(isinstance(name, str) for name in found):
            lists[key] = found
        else:
            problems.append(
                Problem(
                    f"'{key}' is not a list of names",
                    where,
                    repr(found)[:80],
                    '["case1", "case2"]',
                    "write it in this form",
                )
            )
    if "unlabelled" in lists:
        taken = {name for key, listed in lists.items() if key != "unlabelled" for name in listed}
        taken |= set() if "labelled" in lists else set(labelled)
        lists["unlabelled"] = _matching(lists["unlabelled"], names, taken)
    problems += _wrong_names(lists, where, names, labelled)
    patients, wrong = _patients(content.get("patient", {}), where, names)
    known_lists = {key: [name for name in lists[key] if name in names] for key in lists}
    return Split(known_lists, patients), problems + wrong


def _matching(patterns: list[str], names: Collection[str], taken: Collection[str]) -> list[str]:
    """Replace patterns by the names they match.

    A pattern without a match stays, and is then reported as an unknown case.
    """
    free, found = [name for name in sorted(names) if name not in taken], []
    for pattern in patterns:
        is_pattern = set(pattern) & set("*?[") and pattern not in names
        matching = [name for name in free if fnmatchcase(name, pattern)] if is_pattern else []
        found += [name for name in matching if name not in found] or [pattern]
    return found


def _wrong_names(
    lists: Mapping[str, list[str]], where: str, names: Collection[str], labelled: Collection[str]
) -> list[Problem]:
    problems = []
    for name, count in Counter(name for listed in lists.values() for name in listed).items():
        keys = [key for key in LISTS if name in lists.get(key, ())]
        found, expected, fix = name, "", ""
        if set(name) & set("/\\") or name in (".", ".."):
            what, found = "the list contains a path instead of a name", repr(name)
            expected = "a file name without folder and suffix"
        elif name not in names:
            what, fix = f"'{keys[0]}' lists an unknown case", nearest(name, names) if names else ""
        elif count > 1:
            what, found = "a case is listed more than once", f"{name} in {' and '.join(keys)}"
            expected, fix = "each case once", "keep it in one list only"
        elif keys[0] != "unlabelled" and name not in labelled:
            what, expected = f"'{keys[0]}' lists a case without a label", "cases with labels"
            fix = "add its label, or remove it from the list"
        else:
            continue
        problems.append(Problem(what, where, found, expected, fix))
    return problems


def _patients(
    table: Any, where: str, names: Collection[str]
) -> tuple[dict[str, str], list[Problem]]:
    """Return the patient of each case.

    From ``pattern`` (a regular expression: its first group, else the whole match), or case by case.
    """
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        expected = 'pattern = "(sub-[0-9]+)_.*", or case = "patient"'
        return {}, [Problem("[patient] is not a table of names", where, expected=expected)]
    named = {name: patient for name, patient in table.items() if name != "pattern"}
    unknown = "[patient] contains an unknown case"
    problems = [
        Problem(unknown, where, name, fix=nearest(name, names) if names else "")
        for name in named
        if name not in names
    ]
    if "pattern" not in table:
        return named, problems
    try:
        pattern = re.compile(table["pattern"])
    except re.error as error:
        what, found = (
            "[patient] pattern is not a regular expression",
            f"{table['pattern']}: {error}",
        )
        expected, fix = "a pattern such as (sub-[0-9]+)_.*", "correct the pattern"
        return named, [*problems, Problem(what, where, found, expected, fix)]
    matches = {name: pattern.match(name) for name in names if name not in named}
    if without := sorted(name for name, match in matches.items() if match is None):
        problems.append(
            Problem(
                "[patient] pattern does not match all cases",
                where,
                f"{len(without)} without a match, the first is {without[0]}",
                "a match for each case",
                "change the pattern, or add these cases by name",
            )
        )
    group = 1 if pattern.groups else 0
    by_pattern = {name: match[group] or name for name, match in matches.items() if match}
    return by_pattern | named, problems
