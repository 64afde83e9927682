"""The process that works in a folder, by the folder's lock. :mod:`crossview.runs.lock` takes it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock, so nothing is locked there
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"
"""Name of the file that marks a folder as in use; it is removed when the work is done."""


def this_process() -> str:
    """Return the name of this process, as it stands in the lock file that it holds."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def worker(folder: Path) -> str:
    """Return the other process that works in a folder, "" if there is none.

    A file that a killed process left behind locks nothing.
    """
    if fcntl is None:
        return ""
    try:
        with (folder / LOCK).open(encoding="utf-8", errors="replace") as file:
            name = file.read() or "another process"
            if name == this_process():
                return ""
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return name
    except OSError:  # there is no lock, or the file system knows none
        pass
    return ""
