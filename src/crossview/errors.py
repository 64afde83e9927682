"""Errors a user can act on: what is wrong, where, what was found, what was expected, how to fix it.

Everything a user's input can cause raises :class:`UserError`; the command prints it without a
traceback and exits with code 2. Any other exception is a fault of crossview (exit code 1).
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input. ``where`` names the case, the file or the recipe key."""

    what: str
    where: str = ""
    found: str = ""
    expected: str = ""
    fix: str = ""

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        for name in ("found", "expected", "fix"):
            text = getattr(self, name)
            if text:
                lines.append(f"  {name + ':':<10}{text}")
        return "\n".join(lines)


class UserError(Exception):
    """One or more problems in an input, all that could be seen at once. Exit code 2."""

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (
            (problems,) if isinstance(problems, Problem) else tuple(problems)
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Terminated(BaseException):
    """SIGTERM, which ends a verb as Ctrl-C does: what is being written is taken away, what is whole stays. Exit code 143."""


STOPS = (KeyboardInterrupt, Terminated)


def raise_all(problems: Sequence[Problem]) -> None:
    """Raise one :class:`UserError` for all problems, or return if there are none."""
    if problems:
        raise UserError(problems)


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest known ones, else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.6) or [
        name for name in names if name.lower() == word.lower()
    ]
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"


FIXES = {
    errno.ENOSPC: "free disk space; what was finished before is kept, and the command goes on with --resume",
    errno.EFBIG: "the system lets no file grow so large here: choose another folder, or raise the limit",
    errno.EROFS: "choose another folder",
    errno.EACCES: "give yourself the right to, or choose another folder",
}
"""What helps where the system refuses a file."""


def of_system(error: OSError) -> UserError:
    """What the system refused, for people."""
    return UserError(
        Problem(
            error.strerror or str(error),
            where=str(error.filename or ""),
            fix=FIXES.get(error.errno or 0, ""),
        )
    )
