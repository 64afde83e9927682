"""List files of published layouts, one case name per line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from crossview.errors import Problem, UserError


def existing_root(root: Path | None, layout: str) -> Path:
    """Return the data folder. UserError if none is given or it is not a folder."""
    if root is None:
        raise UserError(
            Problem(
                "this source needs a data folder", where="--data", found="none", expected=layout
            )
        )
    if not root.is_dir():
        found = "a file" if root.exists() else "no such folder"
        raise UserError(
            Problem(
                "the data folder does not exist",
                where=str(root),
                found=found,
                expected=layout,
                fix="check the path",
            )
        )
    return root


def no_file(path: Path) -> list[Problem]:
    """Return a problem if the path of an optional file exists and is not a file."""
    if not (path.exists() or path.is_symlink()):
        return []
    found = "a folder" if path.is_dir() else "a special file" if path.exists() else "a broken link"
    return [
        Problem(
            "not a regular file",
            str(path),
            found,
            "a file, or nothing at this path",
            "restore or remove it",
        )
    ]


def read_list(path: Path, separator: str | None = None) -> tuple[list[str], list[Problem]]:
    """Return the names in a list file, in order and each once, and the file's problems.

    Names must be single folder or file names. separator: ends the name within its line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        return [], [
            Problem(
                "the list of cases can't be read",
                where=str(path),
                found=found,
                expected="a text file, one case name per line",
            )
        ]
    names = [
        name
        for line in lines
        if (name := (line.split(separator)[0] if separator else line).strip())
    ]
    problems = []
    if not names:
        problems.append(
            Problem(
                "the list of cases is empty", where=str(path), expected="one case name per line"
            )
        )
    for name in dict.fromkeys(names):
        if not _is_plain(name):
            fix = "write only the name of the case"
            problems.append(
                Problem(
                    "the list contains a path instead of a name",
                    where=str(path),
                    found=repr(name),
                    expected="a name without '/', '\\' or '..'",
                    fix=fix,
                )
            )
    for name, count in Counter(names).items():
        if count > 1:
            problems.append(
                Problem(
                    "a case is listed more than once",
                    where=str(path),
                    found=f"{name}, {count} times",
                    fix="list it once",
                )
            )
    return [name for name in dict.fromkeys(names) if _is_plain(name)], problems


def _is_plain(name: str) -> bool:
    return name not in (".", "..") and not set(name) & set("/\\\0")


def shared_names(lists: Mapping[str, Sequence[str]], noun: str) -> list[Problem]:
    """Return a problem per name that is in two lists: it would be tested after training on it."""
    problems = []
    files = list(lists)
    for position, first in enumerate(files):
        for second in files[position + 1 :]:
            for name in sorted(set(lists[first]) & set(lists[second])):
                fix = "remove it from one of them"
                problems.append(
                    Problem(
                        f"a {noun} is in two lists",
                        where=name,
                        found=f"{first} and {second}",
                        expected="one list",
                        fix=fix,
                    )
                )
    return problems


def missing_files(
    names: Sequence[str], path_of: Callable[[str], Path], list_file: str
) -> list[Problem]:
    """Return a problem per listed case without a file; one problem for all beyond the first ten."""
    fix = f"restore the file, or remove the case from {list_file}"
    missing = [name for name in names if not path_of(name).is_file()]
    told, rest = missing[:10], missing[10:]
    problems = [
        Problem("a listed case has no file", name, f"no file {path_of(name)}", "an h5 file", fix)
        for name in told
    ]
    if rest:
        found = f"{len(missing)} of {len(names)} cases have no file"
        problems.append(
            Problem(
                f"{len(rest)} more listed cases have no file",
                list_file,
                found,
                "an h5 file per case",
                "check the --data path",
            )
        )
    return problems


def too_few(asked: int, there: int, noun: str, where: Path | str) -> list[Problem]:
    """Return a problem if ``where`` has fewer labelled cases than the recipe asks for."""
    if asked <= there:
        return []
    fix = f"set data.labelled to {there} or less"
    return [
        Problem(
            "the recipe asks for more labelled cases than the data has",
            where=str(where),
            found=f"{there} {noun}",
            expected=f"at least {asked}",
            fix=fix,
        )
    ]
