"""One process at a time in a run folder: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from crossview.errors import Problem, UserError

try:
    import fcntl
except ImportError:  # Windows has no flock; nothing is locked there
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"
"""The file in a folder that is being worked in; it goes when the work is done."""
_HELD: set[tuple[int, Path]] = set()


class LockedError(UserError):
    """Another process works in the folder."""


@contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if need be and removed again if it stays empty.

    A thread that holds the lock may ask for it again. Where the file system knows no locks, nothing is locked. wait: for whoever
    holds it; else raises LockedError, which names the process.
    """
    key = threading.get_ident(), folder.absolute()
    if fcntl is None or key in _HELD:
        yield
        return
    made = [parent for parent in (folder, *folder.absolute().parents) if not parent.exists()]
    file = _lock_file(folder, wait)
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        _HELD.add(key)
        yield
    finally:
        _HELD.discard(key)
        (folder / LOCK).unlink(
            missing_ok=True
        )  # before it is let go of, so that whoever comes next makes its own
        file.close()
        _remove_empty(made)


def _lock_file(folder: Path, wait: bool) -> IO[str]:
    """The lock's file, open and locked."""
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("a+", encoding="utf-8")
        except FileNotFoundError:  # its holder was just now done, and removed the folder
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "another process"
            file.close()
            fix = "wait for it, or choose another folder"
            raise LockedError(
                Problem(
                    "another process works in this folder",
                    str(folder),
                    holder,
                    "one at a time",
                    fix,
                )
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                file.close()
                raise
            return file
        try:
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        except FileNotFoundError:
            pass
        file.close()  # its holder removed it between our opening and locking it


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders that were made for the lock alone, the innermost first."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
