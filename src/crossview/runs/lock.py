"""Lock of a run folder, so that one process at a time works in it.

The lock ends with the process that holds it, however that process ends.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from crossview.core.busy import LOCK, this_process
from crossview.core.errors import Problem, UserError

try:
    import fcntl
except ImportError:  # Windows has no flock, so nothing is locked there
    fcntl = None  # type: ignore[assignment]

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""Errors of a file system without locks."""

_HELD: set[tuple[int, Path]] = set()
"""Threads of this process that hold a lock, with its folder."""


class LockedError(UserError):
    """Error if another process works in the folder."""


@contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder.

    The folder is created if it does not exist, and removed again if it stays empty. A thread that
    holds the lock may take it again. On a file system without locks, nothing is locked.

    Args:
        folder: The folder to lock.
        wait: Wait until the holder releases the lock, instead of raising.

    Raises:
        LockedError: If another process holds the lock; the error names it.
    """
    key = threading.get_ident(), folder.absolute()
    if fcntl is None or key in _HELD:
        yield
        return
    made = [parent for parent in (folder, *folder.absolute().parents) if not parent.exists()]
    file = _lock_file(folder, wait)
    try:
        file.truncate(0)
        file.write(this_process())
        file.flush()
        _HELD.add(key)
        yield
    finally:
        _HELD.discard(key)
        # Removed before it is released, so that the next process creates its own file.
        (folder / LOCK).unlink(missing_ok=True)
        file.close()
        with suppress(OSError):  # not empty
            for parent in made:
                parent.rmdir()


def _lock_file(folder: Path, wait: bool) -> IO[str]:
    """Return the lock file, open and locked."""
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # Its holder removes the file, and perhaps the folder, at any moment: then it is made anew.
        with suppress(FileNotFoundError), ExitStack() as opened:
            file = opened.enter_context(path.open("a+", encoding="utf-8"))
            _flock(file, folder, wait)
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                opened.pop_all()
                return file


def _flock(file: IO[str], folder: Path, wait: bool) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.seek(0)
        what, holder = "another process works in this folder", file.read() or "another process"
        fix = "wait until it ends, or choose another folder"
        problem = Problem(what, str(folder), holder, "one process at a time", fix)
        raise LockedError(problem) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
