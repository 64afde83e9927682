"""The files of a DICOM series: in a folder, in a zip file, or one file."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from crossview.core.errors import UserError, fail
from crossview.data.io.scan import COPY_AGAIN, first_line

SLICE_SUFFIXES = (".dcm", ".ima", ".dicom")
"""A file with one of these must be DICOM; a file without is DICOM if its content says so."""

FOLDER = "/"
"""Stands for the suffix of a folder that is a series."""

MOST_TRIED = 20
"""Most files of a folder that are opened to see if it is a series."""

DEEPEST = 3
"""Levels of folders below a series' own in which its files may be."""

MARK, MARK_AT = b"DICM", 128
"""What a DICOM file holds, and where."""


def file_name(path: Path) -> str:
    """Return the last part of a path; that of a folder that is a DICOM series ends in "/".

    Return "" for a zip file without DICOM, which is no scan.
    """
    if path.is_dir():
        return path.name + FOLDER if holds_dicom(path) else path.name
    return "" if path.suffix.lower() == ".zip" and not zip_holds_dicom(path) else path.name


def is_dicom(path: Path) -> bool:
    """True if a file's content, or its name, is that of DICOM."""
    if path.suffix.lower() in SLICE_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(MARK_AT + len(MARK))[MARK_AT:] == MARK
    except OSError:
        return False


def holds_dicom(folder: Path, deepest: int = DEEPEST) -> bool:
    """True if a folder holds a DICOM file, itself or at most ``deepest`` levels below."""
    try:
        shown = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return False
    files = [path for path in shown if path.is_file()]
    if any(map(is_dicom, files[:MOST_TRIED])):
        return True
    folders = [path for path in shown if path.is_dir()] if deepest else []
    return any(holds_dicom(path, deepest - 1) for path in folders)


def zip_holds_dicom(path: Path) -> bool:
    """True if a zip file holds DICOM among its first files, or is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            tried = list(_members(archive))[:MOST_TRIED]
            return any(_is_dicom_in(archive, member) for member in tried)
    except Exception:  # zipfile raises a dozen types; reading the scan raises the reason
        return True


@contextmanager
def opened(path: Path) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """Give the DICOM files of a folder, of a zip file or of a single file: names and streams."""
    if path.suffix.lower() == ".zip" and path.is_file():
        with damage_named(path, ""):
            archive = zipfile.ZipFile(path)
        with archive:
            yield _of_zip(archive, path)
    else:
        yield _of_folder(path)


def file_content(path: Path, name: str) -> bytes | None:
    """Return the content of a file of this name in a series' folder or zip file, None without one.

    In a zip file it may lie in a folder. Raise any error of zipfile if it can't be read.
    """
    if path.suffix.lower() == ".zip" and path.is_file():
        with zipfile.ZipFile(path) as archive:
            named = [each for each in _members(archive) if Path(each.filename).name == name]
            return archive.read(named[0]) if named else None
    return (path / name).read_bytes() if (path / name).is_file() else None


def _of_folder(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    files = _below(path, DEEPEST) if path.is_dir() else [path]
    for file in files:
        if is_dicom(file) or file == path:
            with damage_named(path, file.name):
                stream = file.open("rb")
            with stream:
                yield file.relative_to(path).as_posix() if path.is_dir() else file.name, stream


def _below(folder: Path, deepest: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and deepest > 0:
            yield from _below(path, deepest - 1)


def _of_zip(archive: zipfile.ZipFile, path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    for member in _members(archive):
        with damage_named(path, member.filename):
            found = _is_dicom_in(archive, member)
        if found:
            with damage_named(path, member.filename):
                stream = archive.open(member)
            with stream:
                yield member.filename, stream


def _members(archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """Yield the files of a zip file by name, without hidden ones."""
    for member in sorted(archive.infolist(), key=lambda each: each.filename):
        hidden = any(part.startswith((".", "__MACOSX")) for part in Path(member.filename).parts)
        # A file without a name is damage, over which is_dir stumbles.
        if member.filename and not member.is_dir() and not hidden:
            yield member


def _is_dicom_in(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    if Path(member.filename).suffix.lower() in SLICE_SUFFIXES:
        return True
    with archive.open(member) as stream:
        return stream.read(MARK_AT + len(MARK))[MARK_AT:] == MARK


@contextmanager
def damage_named(path: Path, file: str) -> Iterator[None]:
    """Raise UserError at a file for any error of a library that reads it."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except FileNotFoundError:
        fail("the scan is missing", path, found="no such file or folder", fix="check the path")
    except Exception as error:  # pydicom, zipfile and decoders raise a dozen types
        fail(
            "a DICOM file is cut off, damaged or not DICOM",
            f"{path}/{file}" if file and file != path.name else path,
            found=first_line(error),
            expected="a complete DICOM file",
            fix=COPY_AGAIN,
        )


@contextmanager
def unwarned() -> Iterator[None]:
    """Silence the warnings of pydicom, which can quote any value of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
