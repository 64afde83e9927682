"""Files that are whole or not there: written aside, made durable, renamed. A kill at any moment leaves the old file or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path aside to write to; it becomes ``path`` once it is whole and on the disk, and is removed if anything fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
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
