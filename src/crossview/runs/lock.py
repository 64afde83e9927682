"""Lock of a run folder, so that one process at a time works in it.

The lock ends with the process that holds it, however that process ends. On Windows and on file
systems without locks a lease takes its place: a file that its holder refreshes.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from crossview.core.busy import LOCK, holder, lease, this_process
from crossview.core.errors import Problem, UserError
from crossview.core.files import naming

try:
    import fcntl
except ImportError:  # Windows has no flock
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
    holds the lock may take it again.

    Args:
        folder: The folder to lock.
        wait: Wait until the holder releases the lock, instead of raising.

    Raises:
        LockedError: If another process holds the lock; the error names it.
    """
    key = threading.get_ident(), folder.absolute()
    if key in _HELD:
        yield
        return
    made = [parent for parent in (folder, *folder.absolute().parents) if not parent.exists()]
    try:
        with _taken(folder, wait):
            _HELD.add(key)
            yield
    finally:
        _HELD.discard(key)
        with suppress(OSError):  # not empty
            for parent in made:
                parent.rmdir()


@contextmanager
def _taken(folder: Path, wait: bool) -> Iterator[None]:
    """Hold the lock of a folder, or its lease where there are no locks."""
    file = None if fcntl is None else _lock_file(folder, wait)
    if file is None:
        with _leased(folder, wait):
            yield
        return
    try:
        with naming(folder / LOCK):
            file.truncate(0)
            file.write(this_process())
            file.flush()
        yield
    finally:
        # Removed before it is released, so that the next process creates its own file.
        (folder / LOCK).unlink(missing_ok=True)
        with suppress(OSError):  # of a full disk, which the write has told with the file's name
            file.close()


def _lock_file(folder: Path, wait: bool) -> IO[str] | None:
    """Return the lock file, open and locked; None if the file system has no locks."""
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # Its holder removes the file, and perhaps the folder, at any moment: then it is made anew.
        with suppress(FileNotFoundError), ExitStack() as opened:
            file = opened.enter_context(path.open("a+", encoding="utf-8"))
            if not _flock(file, folder, wait):
                path.unlink(missing_ok=True)
                return None
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                opened.pop_all()
                return file


def _flock(file: IO[str], folder: Path, wait: bool) -> bool:
    """Lock an open file. Return False if the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.seek(0)
        raise _refused(folder, file.read()) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


@contextmanager
def _leased(folder: Path, wait: bool) -> Iterator[None]:
    """Hold the lease of a folder. A process that loses its lease, as after a long sleep, stops."""
    from filelock import Timeout

    mine = lease(folder, on_compromise=lambda _: signal.raise_signal(signal.SIGTERM))
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            mine.acquire(blocking=wait)
        except FileNotFoundError:  # the last holder has removed the folder
            continue
        except Timeout:
            raise _refused(folder, holder(folder)) from None
        break
    try:
        yield
    finally:
        mine.release()


def _refused(folder: Path, name: str) -> LockedError:
    what, fix = (
        "another process works in this folder",
        "wait until it ends, or choose another folder",
    )
    found = name or "another process"
    return LockedError(Problem(what, str(folder), found, "one process at a time", fix))
