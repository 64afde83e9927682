"""Errors that a user can act on: what is wrong, where, what was found and expected, how to fix it.

Every error that a user's input can cause is a :class:`UserError`; the command prints it without a
traceback and exits with code 2. Any other exception is a bug in crossview (exit code 1).
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True)
class Problem:
    """One problem in an input. ``where`` names the case, the file or the recipe key."""

    what: str
    where: str = ""
    found: str = ""
    expected: str = ""
    fix: str = ""

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        for name in ("found", "expected", "fix"):
            if text := getattr(self, name):
                lines.append(f"  {name + ':':<10}{text}")
        return "\n".join(lines)


class UserError(Exception):
    """One or more problems in an input: all that were found at once. Exit code 2."""

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (
            (problems,) if isinstance(problems, Problem) else tuple(problems)
        )
        super().__init__("\n".join(map(str, self.problems)))


class Terminated(BaseException):
    """SIGTERM. It ends a verb as Ctrl-C does, with exit code 143.

    Partial files are removed, complete files are kept.
    """


STOPS = (KeyboardInterrupt, Terminated)


def fail(
    what: str, where: object = "", *, found: object = "", expected: object = "", fix: str = ""
) -> NoReturn:
    """Raise a UserError of one problem, without the exception that is being handled.

    Args:
        what: The statement of what is wrong.
        where: The case, file, table or key.
        found: The value found.
        expected: The value expected.
        fix: An instruction to the user.

    Raises:
        UserError: Always.
    """
    raise UserError(Problem(what, str(where), str(found), str(expected), fix)) from None


def raise_all(problems: Sequence[Problem]) -> None:
    """Raise one :class:`UserError` with all problems, if there are any."""
    if problems:
        raise UserError(problems)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint for a misspelt name: the closest known names, or all if none is close."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.6) or [
        name for name in names if name.lower() == word.lower()
    ]
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its class if it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


NO_MEMORY = re.compile(
    "not enough memory|alloc_cpu|out of memory|std::bad_alloc|Cannot allocate memory"
    # A "primitive descriptor" that can't be made is an operation that oneDNN does not have.
    "|could not create a primitive(?! descriptor)"
    "|failed to map segment from shared object|can't start new thread"
)
"""Texts by which torch, oneDNN, the system's loader and Python report a lack of memory."""


KEPT = "; finished work is kept (train, predict: repeat with --resume)"

SMALLER = f"choose a smaller patch, batch or network, or a machine with more memory{KEPT}"
"""The fix for a lack of memory."""


def lacks_memory(error: BaseException) -> bool:
    """True for a lack of memory, which libraries report as plain errors with a text.

    An error that was raised from a lack of memory is one too.
    """
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return True
    return error.__cause__ is not None and lacks_memory(error.__cause__)


def of_memory(error: BaseException, where: str = "") -> UserError:
    """Convert a lack of memory to a :class:`UserError`."""
    fix = SMALLER
    if "thread" in str(error):
        fix = (
            f"raise the limits of memory and processes (ulimit -v, ulimit -u), or end others{KEPT}"
        )
    return UserError(Problem("not enough memory", where, first_line(error), fix=fix))


FIXES = {
    errno.ENOSPC: "free disk space, then repeat the command (train, predict: with --resume); "
    "finished work is kept",
    errno.EFBIG: "raise the system's limit on file size, or choose another folder",
    errno.EROFS: "choose another folder",
    errno.EACCES: "change the permissions, or choose another folder",
}
"""Fixes for a file that the system refuses, by error number."""


def of_system(error: OSError) -> UserError:
    """Convert an error of the operating system to a :class:`UserError`."""
    what, where = error.strerror or str(error), str(error.filename or "")
    return UserError(Problem(what, where, fix=FIXES.get(error.errno or 0, "")))


def of_people(error: Exception, where: str = "") -> UserError | None:
    """Return what a person can act on; None for an error that is a bug in crossview.

    where: named by errors that know no place, such as a lack of memory.
    """
    if isinstance(error, UserError):
        return error
    if lacks_memory(error):
        return of_memory(error, where)
    return of_system(error) if isinstance(error, OSError) else None
