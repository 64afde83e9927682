"""Writing of files that are either complete or absent.

A file is written under a temporary name, synced to the disk and renamed. A kill at any moment
leaves the old file or the new one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crossview.core.errors import fail

LONGEST = 240
"""Bytes of the longest name that ".part" is appended to: file systems allow 255."""


@contextmanager
def naming(path: Path, part: Path | None = None) -> Iterator[None]:
    """Name ``path`` in an OSError that names no file, as of a full disk, or that names ``part``."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, part, str(part)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to.

    The file is synced and renamed to ``path`` at the end. It is removed if anything fails. An
    OSError names ``path``.
    """
    # A character takes four bytes at most.
    name = path.name if len(os.fsencode(path.name)) <= LONGEST else path.name[: LONGEST // 4]
    part = path.with_name(name + ".part")
    try:
        with naming(path, part):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(part, path)
    finally:
        with suppress(OSError):  # in a folder that has become read-only
            part.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Yield an empty folder next to ``folder`` to write to.

    It takes the place of ``folder`` at the end. It is removed if anything fails, and ``folder``
    stays as it was; after a kill, the next call sees to both.
    """
    part, old = (folder.with_name(folder.name + end) for end in (".part", ".old"))

    def tidy() -> None:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for aside in (part, old):
            shutil.rmtree(aside, ignore_errors=True)

    tidy()
    part.mkdir(parents=True)
    try:
        yield part
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
    finally:
        tidy()


def write_text(path: Path, text: str) -> Path:
    """Write a text file that is complete or absent, and return ``path``.

    Characters that UTF-8 cannot encode, as in odd file names, are replaced.
    """
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8", errors="replace", newline="")
    return path


def check_writable(folder: Path) -> None:
    """Raise UserError unless files can be created in ``folder``. Write nothing.

    If ``folder`` does not exist, its nearest existing parent is checked.
    """
    path = folder.absolute()
    there = next(each for each in (path, *path.parents) if each.exists() or each.is_symlink())
    if not there.is_dir():
        what, expected = "the output folder can't be created", "a new or existing folder"
        found = f"{there} is {'a file' if there.exists() else 'a broken link'}"
        fail(what, folder, found=found, expected=expected, fix="choose another --out")
    if not os.access(there, os.W_OK | os.X_OK):
        what, expected = "the output folder can't be written to", "a writable folder"
        fix = "choose another --out, or give yourself write permission there"
        fail(what, folder, found=f"{there} is read-only", expected=expected, fix=fix)


def nearest_folder(path: Path) -> Path:
    """Return ``path`` if it is a folder, else its nearest parent that is one."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
