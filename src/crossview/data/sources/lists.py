"""The list files of published layouts: one case name a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from crossview.errors import Problem, UserError


def existing_root(root: Path | None, layout: str) -> Path:
    """The data's folder; UserError if none is given or it isn't a folder."""
    if root is None:
        raise UserError(
            Problem(
                "this source needs a folder of data", where="--data", found="none", expected=layout
            )
        )
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing there"
        raise UserError(
            Problem(
                "the data's folder is missing",
                where=str(root),
                found=found,
                expected=layout,
                fix="check the path",
            )
        )
    return root


def no_file(path: Path) -> list[Problem]:
    """Where something bears the name of a file that may be left out, and is none; [] where nothing does."""
    if not (path.exists() or path.is_symlink()):
        return []
    found = (
        "a folder"
        if path.is_dir()
        else "no plain file"
        if path.exists()
        else "a link to nothing or to itself"
    )
    return [
        Problem(
            "this is no file",
            str(path),
            found,
            "a file, or nothing of this name",
            "restore it, or take it away",
        )
    ]


def read_list(path: Path, separator: str | None = None) -> tuple[list[str], list[Problem]]:
    """The names in a list file, in order and each once, and what is wrong with it. Names are single folder or file names.

    separator: what ends a name within its line, if something can follow.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        return [], [
            Problem(
                "can't read the list of cases",
                where=str(path),
                found=found,
                expected="a text file, one case name a line",
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
            Problem("the list of cases is empty", where=str(path), expected="one case name a line")
        )
    for name in dict.fromkeys(names):
        if not _is_plain(name):
            fix = "write the case's name alone"
            problems.append(
                Problem(
                    "not a plain name",
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
    """A problem for each name that stands in two lists: its test result would be of something trained on."""
    problems = []
    files = list(lists)
    for position, first in enumerate(files):
        for second in files[position + 1 :]:
            for name in sorted(set(lists[first]) & set(lists[second])):
                fix = "leave it in one of them"
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
    """A problem for each listed case whose file is absent; for the first ten and the rest together where there are many."""
    fix = f"restore the file, or take the case out of {list_file}"
    missing = [name for name in names if not path_of(name).is_file()]
    told, rest = missing[:10], missing[10:]
    problems = [
        Problem("a listed case is missing", name, f"no file {path_of(name)}", "its h5 file", fix)
        for name in told
    ]
    if rest:
        found = f"{len(missing)} of {len(names)} cases have no file"
        problems.append(
            Problem(
                f"{len(rest)} more listed cases are missing",
                list_file,
                found,
                "an h5 file each",
                "check the path given as --data",
            )
        )
    return problems


def too_few(asked: int, there: int, noun: str, where: Path | str) -> list[Problem]:
    """A problem if the list, or what else ``where`` names, holds fewer labelled cases than the recipe asks for."""
    if asked <= there:
        return []
    fix = f"set data.labelled to {there} or less"
    return [
        Problem(
            "more labelled cases asked for than there are",
            where=str(where),
            found=f"{there} {noun}",
            expected=f"at least {asked}",
            fix=fix,
        )
    ]
