"""Files that are whole or not there: written aside, made durable, renamed. A kill at any moment leaves the old file or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossview.errors import Problem, UserError

LONGEST = 240
"""Bytes of a name to which ".part" can be added: file systems take 255."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path aside to write to; it becomes ``path`` once it is whole and on the disk, and is removed if anything fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = (
        path.name if len(os.fsencode(path.name)) <= LONGEST else path.name[: LONGEST // 4]
    )  # four bytes a letter at most
    part = path.with_name(name + ".part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write a text whole; characters that UTF-8 can't hold (of odd file names) are replaced. Returns ``path``."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8", errors="replace", newline="")
    return path


def check_writable(folder: Path) -> None:
    """Files can be made in ``folder``, or it in the nearest folder that is there. Raises UserError; writes nothing."""
    there = next(
        place
        for place in (folder.absolute(), *folder.absolute().parents)
        if place.exists() or place.is_symlink()
    )
    fix = "choose another --out, or give yourself the right to write there"
    if not there.is_dir():
        found = f"{there} is {'a link to nothing or to itself' if there.is_symlink() and not there.exists() else 'a file'}"
        raise UserError(
            Problem(
                "the output folder can't be made", str(folder), found, "a folder, new or not", fix
            )
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            Problem(
                "nothing can be written here",
                str(folder),
                f"{there} is read-only",
                "a folder to write to",
                fix,
            )
        )
