"""Published layouts: list files with one case name per line, h5 cases, and roles by list order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from itertools import combinations
from pathlib import Path

from crossview.core.errors import Problem, fail
from crossview.core.text import COMPOSED, MOST_LISTED, first_few, same_in_print
from crossview.data.case import Case
from crossview.data.io import split_name
from crossview.data.io.channels import CHANNEL
from crossview.data.io.h5 import read_image, read_label
from crossview.data.sources.source import DataOptions


def existing_root(root: Path | None, layout: str) -> Path:
    """Return the data folder. UserError if none is given or it is not a folder."""
    if root is None:
        fail("this source needs a data folder", "--data", found="none", expected=layout)
    if not root.is_dir():
        fail(
            "the data folder does not exist",
            root,
            found="a file" if root.exists() else "no such folder",
            expected=layout,
            fix="check the path",
        )
    return root


def no_file(path: Path) -> list[Problem]:
    """Return a problem if the path of an optional file exists and is not a file."""
    if not (path.exists() or path.is_symlink()):
        return []
    found = "a folder" if path.is_dir() else "a special file" if path.exists() else "a broken link"
    expected = "a file, or nothing at this path"
    return [Problem("not a regular file", str(path), found, expected, "restore or remove it")]


def read_lists(
    root: Path, paths: Mapping[str, Callable[[str], Path]], separator: str | None = None
) -> tuple[dict[str, list[str]], list[Problem]]:
    """Return the names in several list files, and the problems of lists and listed files.

    paths: by the name of a list file, the path of a case. separator: as in :func:`read_list`.
    """
    names, problems = {}, []
    for file, path_of in paths.items():
        names[file], found = read_list(root / file, separator)
        problems += found + missing_files(names[file], path_of, file)
    return names, problems + shared_names(names, "case")


def read_list(path: Path, separator: str | None = None) -> tuple[list[str], list[Problem]]:
    """Return the names in a list file, in order and each once, and the file's problems.

    Names must be single folder or file names. separator: ends the name within its line.
    """
    where = str(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        expected = "a text file, one case name per line"
        fix = "for scans of your own: crossview train folder --data FOLDER"
        what = "the list of cases can't be read"
        return [], [Problem(what, where, found, expected, fix if found == "no such file" else "")]
    names = [line.split(separator)[0].strip() if separator else line.strip() for line in lines]
    counts = Counter(name for name in names if name)
    if not counts:
        expected = "one case name per line"
        return [], [Problem("the list of cases is empty", where, expected=expected)]
    problems = [
        Problem(
            "the list contains a path instead of a name",
            where,
            repr(name),
            "a name without '/', '\\' or '..'",
            "write only the name of the case",
        )
        for name in counts
        if not _is_plain(name)
    ]
    problems += [
        Problem(
            "a case is listed more than once", where, f"{name}, {count} times", fix="list it once"
        )
        for name, count in counts.items()
        if count > 1
    ]
    return [name for name in counts if _is_plain(name)], problems


def _is_plain(name: str) -> bool:
    return name not in (".", "..") and not set(name) & set("/\\\0")


def shared_names(lists: Mapping[str, Sequence[str]], noun: str) -> list[Problem]:
    """Return a problem per name that is in two lists: it would be tested after training on it."""
    fix, problems = "remove it from one of them", []
    for first, second in combinations(lists, 2):
        shared, both = sorted(set(lists[first]) & set(lists[second])), f"{first} and {second}"
        problems += [
            Problem(f"a {noun} is in two lists", name, both, "one list", fix)
            for name in shared[:MOST_LISTED]
        ]
        if rest := shared[MOST_LISTED:]:
            what = f"{len(rest)} more {noun}s are in two lists"
            problems.append(Problem(what, "", both, "one list", fix))
    return problems


def missing_files(
    names: Sequence[str], path_of: Callable[[str], Path], list_file: str
) -> list[Problem]:
    """Return a problem per listed case without a file; one problem for all beyond the first ten."""
    fix = f"restore the file, or remove the case from {list_file}"
    missing = [name for name in names if not path_of(name).is_file()]
    problems = [
        Problem("a listed case has no file", name, f"no file {path_of(name)}", "an h5 file", fix)
        for name in missing[:10]
    ]
    if rest := missing[10:]:
        problems.append(
            Problem(
                f"{len(rest)} more listed cases have no file",
                list_file,
                f"{len(missing)} of {len(names)} cases have no file",
                "an h5 file per case",
                "check the --data path",
            )
        )
    return problems


def too_few(asked: int, there: int, noun: str, where: Path | str) -> list[Problem]:
    """Return a problem if ``where`` has fewer labelled cases than the recipe asks for."""
    if asked <= there:
        return []
    return [
        Problem(
            "the recipe asks for more labelled cases than the data has",
            str(where),
            f"{there} {noun}",
            f"at least {asked}",
            f"set data.labelled to {there} or less",
        )
    ]


def h5_case(file: Path, name: str, patient: str = "", dimensions: int = 3) -> Case:
    """Return the case of an h5 file. patient: by default the case itself."""
    image, label = partial(read_image, file, dimensions), partial(read_label, file, dimensions)
    return Case(name, patient or name, file, image, label)


def by_role(
    cases: Sequence[Case], options: DataOptions
) -> tuple[tuple[Case, ...], tuple[Case, ...], tuple[Case, ...]]:
    """Return labelled, unlabelled and validation cases.

    The first cases of the list keep their labels; the last of these validate.
    """
    trained = options.labelled - options.validation
    unlabelled = tuple(case.without_label() for case in cases[options.labelled :])
    return tuple(cases[:trained]), unlabelled, tuple(cases[trained : options.labelled])


def names_hint(wrong: Sequence[str], names: Collection[str], noun: str) -> str:
    """Return a hint for unknown names: the closest to the first, or the first of those there are.

    "" if all is right, or there are no names.
    """
    if not wrong or not names:
        return ""
    if same_in_print(wrong[0], names):
        return f"{wrong[0]}: {COMPOSED}"
    bare = split_name(wrong[0])[0]
    channel = CHANNEL.fullmatch(bare)
    if (bare := channel["name"] if channel else bare) in names:
        return f"write {bare}: names are without suffix and channel number"
    close = get_close_matches(wrong[0], sorted(names), n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"the {noun} are {first_few(sorted(names))}"
