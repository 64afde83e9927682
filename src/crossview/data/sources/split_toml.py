"""split.toml: the labelled, validation, test and unlabelled cases, and their patients."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from crossview.core.errors import Problem, nearest
from crossview.core.parse import from_toml
from crossview.core.text import first_few
from crossview.data.sources import partly, regions, stated
from crossview.data.sources.lists import names_hint, no_file
from crossview.data.sources.partly import Partly
from crossview.data.sources.regions import StatedRegions
from crossview.data.sources.stated import Stated

LISTS = ("labelled", "validation", "test", "unlabelled")

HELD_OUT = ("validation", "test")

PATIENTS = "_patients"

Value = TypeVar("Value")

OF_NAMES = (*LISTS, *(key + PATIENTS for key in HELD_OUT))

KEYS = (*OF_NAMES, "patient", *stated.KEYS, *partly.KEYS, *regions.KEYS)


@dataclass
class Split:
    """The lists of a split.toml, the patient of each case, and what label files hold.

    By default a case is a patient of its own, the file states no classes, and labels leave nothing
    open.
    """

    lists: dict[str, list[str]] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    stated: Stated | None = None
    partly: Partly = field(default_factory=Partly)
    regions: StatedRegions | None = None

    def names(self, key: str) -> list[str] | None:
        return self.lists.get(key)

    def patient(self, name: str) -> str:
        return self.patients.get(name, name)


def read_split(
    path: Path, names: Collection[str], labelled: Collection[str]
) -> tuple[Split, list[Problem]]:
    """Return the split and its problems; an empty split if there is no such file.

    Every list may contain patterns ("site2_*"). Those of ``test`` and ``validation`` match cases
    with labels; ``test_patients`` and ``validation_patients`` add all such cases of a patient.
    Patterns of ``labelled``, and then of ``unlabelled``, match what is left, without the scans of
    test and validation patients. Without a list ``labelled``, all cases with labels are labelled.

    names: of all cases. labelled: names of cases with labels.
    """
    if not path.is_file():
        return Split(), no_file(path)
    where = str(path)
    try:
        content = from_toml(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        fix = "correct or remove the file"
        return Split(), [Problem("split.toml can't be read", where, str(error), "TOML", fix)]
    problems = [
        Problem(f"unknown key '{key}'", where, fix=nearest(key, KEYS))
        for key in content
        if key not in KEYS
    ]
    patients, wrong_patients = _patients(content.get("patient", {}), where, names)
    found, wrong = _lists(content, where)
    lists, unknown = _Filling(found, Split({}, patients), where, names, labelled).fill()
    problems += [*wrong, *unknown, *_wrong_names(lists, where, names, labelled), *wrong_patients]
    known = {key: [name for name in lists[key] if name in names] for key in lists}
    open_labels, wrong = partly.read(content, where)
    slices, unknown = _by_case(open_labels.slices, "slices", names, labelled, where)
    missing, others = _by_case(open_labels.missing, "missing", names, labelled, where)
    labels, mistaken = stated.read(content, where)
    of_regions, unread = regions.read(content.get("regions"), content.get(regions.ORDER), where)
    problems += [*wrong, *unknown, *others, *mistaken, *unread]
    open_labels = replace(open_labels, slices=slices, missing=missing)
    return Split(known, patients, labels, open_labels, of_regions), problems


def _by_case(
    table: Mapping[str, Value],
    key: str,
    names: Collection[str],
    labelled: Collection[str],
    where: str,
) -> tuple[dict[str, Value], list[Problem]]:
    """Return a table with its patterns replaced by labelled cases, and its problems."""
    found: dict[str, Value] = {}
    for pattern, value in table.items():
        matching = _matching([pattern], names, [name for name in labelled if name not in table])
        found |= dict.fromkeys(matching, value)
    unknown = [name for name in found if name not in names]
    fix = names_hint(unknown, names, "cases")
    problems = _listed(f"[{key}] contains", "an unknown case", unknown, where, fix=fix)
    return {name: value for name, value in found.items() if name in names}, problems


def _lists(content: Mapping[str, Any], where: str) -> tuple[dict[str, list[str]], list[Problem]]:
    """Return the lists of names in the file, and a problem per key that is none."""
    keys = [key for key in OF_NAMES if key in content]
    right = {key for key in keys if _is_list_of_names(content[key])}
    problems = [
        Problem(
            f"'{key}' is not a list of names",
            where,
            repr(content[key])[:80],
            '["case1", "case2"]',
            "write it in this form",
        )
        for key in keys
        if key not in right
    ]
    return {key: content[key] for key in keys if key in right}, problems


def _is_list_of_names(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(name, str) for name in found)


@dataclass
class _Filling:
    """The lists of a file, with its patterns and patients replaced by names of cases."""

    found: Mapping[str, list[str]]
    split: Split
    where: str
    names: Collection[str]
    labelled: Collection[str]

    def fill(self) -> tuple[dict[str, list[str]], list[Problem]]:
        """Return the names per list, and the problems of patients.

        A pattern without a match stays, and is then reported as an unknown case.
        """
        lists: dict[str, list[str]] = {}
        problems: list[Problem] = []
        with_label = [name for name in sorted(self.names) if name in set(self.labelled)]
        for key in HELD_OUT:
            if key in self.found or key + PATIENTS in self.found:
                lists[key] = _matching(self.found.get(key, []), self.names, with_label)
                of_patients, wrong = self._of_patients(key + PATIENTS, with_label)
                lists[key] += [name for name in of_patients if name not in lists[key]]
                problems += wrong
        held_out = {self.split.patient(name) for listed in lists.values() for name in listed}
        free = [name for name in sorted(self.names) if self.split.patient(name) not in held_out]
        fixed = {name for key in ("labelled", "unlabelled") for name in self.found.get(key, ())}
        if "labelled" in self.found:
            left = [name for name in free if name in set(with_label) - fixed]
            lists["labelled"] = _matching(self.found["labelled"], self.names, left)
        if "unlabelled" in self.found:
            taken = set(lists.get("labelled", with_label)) | fixed
            left = [name for name in free if name not in taken]
            lists["unlabelled"] = _matching(self.found["unlabelled"], self.names, left)
        return lists, problems

    def _of_patients(self, key: str, with_label: Sequence[str]) -> tuple[list[str], list[Problem]]:
        """Return the labelled cases of the patients in a list, and the problems of the list."""
        known = sorted({self.split.patient(name) for name in self.names})
        wanted = _matching(self.found.get(key, []), known, known)
        cases: dict[str, list[str]] = {patient: [] for patient in wanted}
        for name in with_label:
            cases.get(self.split.patient(name), []).append(name)
        unknown = [patient for patient in wanted if patient not in known]
        empty = [patient for patient in wanted if patient in known and not cases[patient]]
        fix = names_hint(unknown, known, "patients")
        if not self.split.patients:
            fix = '[patient] must say whose the cases are, such as pattern = "(sub-[0-9]+)_.*"'
        problems = [*_listed(f"'{key}' lists", "an unknown patient", unknown, self.where, fix=fix)]
        what = "a patient without a labelled case"
        fix = "add a label, or remove the patient from the list"
        problems += _listed(f"'{key}' lists", what, empty, self.where, fix=fix)
        return [name for of_patient in cases.values() for name in of_patient], problems


def _matching(patterns: list[str], names: Collection[str], free: Sequence[str]) -> list[str]:
    """Replace patterns by the names in ``free`` that they match; a name stands for itself.

    A pattern without a match stays.
    """
    found: list[str] = []
    for pattern in patterns:
        is_pattern = set(pattern) & set("*?[") and pattern not in names
        matching = [name for name in free if fnmatchcase(name, pattern)] if is_pattern else []
        found += [name for name in matching if name not in found] or [pattern]
    return found


def _wrong_names(
    lists: Mapping[str, list[str]], where: str, names: Collection[str], labelled: Collection[str]
) -> list[Problem]:
    """Return the problems of the names in the lists, one per kind and list."""
    paths, unknown, twice = [], defaultdict[str, list[str]](list), []
    without = defaultdict[str, list[str]](list)
    for name, number in Counter(name for listed in lists.values() for name in listed).items():
        keys = [key for key in LISTS if name in lists.get(key, ())]
        if set(name) & set("/\\") or name in (".", ".."):
            paths.append(repr(name))
        elif name not in names:
            unknown[keys[0]].append(name)
        elif number > 1:
            twice.append(f"{name} in {' and '.join(keys)}")
        elif keys[0] != "unlabelled" and name not in labelled:
            without[keys[0]].append(name)
    expected = "a file name without folder and suffix"
    problems = _listed("the list contains", "a path instead of a name", paths, where, expected)
    for key, of_list in unknown.items():
        fix = names_hint(of_list, names, "cases")
        problems += _listed(f"'{key}' lists", "an unknown case", of_list, where, fix=fix)
    what, fix = "a case is listed more than once", "keep it in one list only"
    problems += [Problem(what, where, first_few(twice), "each case once", fix)] if twice else []
    fix = "add its label, or remove it from the list"
    for key, of_list in without.items():
        what, expected = "a case without a label", "cases with labels"
        problems += _listed(f"'{key}' lists", what, of_list, where, expected, fix)
    return problems


def _listed(
    begin: str, what: str, names: Sequence[str], where: str, expected: str = "", fix: str = ""
) -> list[Problem]:
    """Return one problem for all names, none if there are none."""
    if not names:
        return []
    text = f"{begin} {what}" + ("" if len(names) == 1 else f" ({len(names)} of them)")
    return [Problem(text, where, first_few(names), expected, fix)]


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
    unknown = [name for name in named if name not in names]
    fix = names_hint(unknown, names, "cases")
    problems = _listed("[patient] contains", "an unknown case", unknown, where, fix=fix)
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
