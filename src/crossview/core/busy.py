"""The process that works in a folder, by the folder's lock. :mod:`crossview.runs.lock` takes it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from filelock import SoftFileLease

LOCK = "lock"
"""Name of the file that marks a folder as in use; it is removed when the work is done."""

LEASE = "lease"
"""Name of the file that takes the lock's place where there are no locks."""

LEASE_SECONDS = 900
"""Seconds without a sign of life after which another machine's lease has ended.

A holder on this machine that has died loses its lease at once.
"""


def is_lock(name: str) -> bool:
    """True if a file of this name in a folder only says that the folder is in use."""
    return name in (LOCK, LEASE) or name.startswith(f"{LEASE}.")


def this_process() -> str:
    """Return the name of this process, as it stands in the lock file that it holds."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def lease(folder: Path, **options: Any) -> SoftFileLease:
    """Return the lease of a folder, not yet taken. options: of filelock's SoftFileLease."""
    from filelock import SoftFileLease

    return SoftFileLease(
        folder / LEASE, lease_duration=LEASE_SECONDS, heartbeat_interval=30, **options
    )


def holder(folder: Path) -> str:
    """Return the other process that holds the lease of a folder, "" if there is none."""
    if not (folder / LEASE).exists():
        return ""
    from filelock import Timeout

    asked = lease(folder)
    try:
        owner = asked.owner
        if owner is None:
            return ""
        name = f"process {owner.pid} on {owner.hostname}"
        if name == this_process():
            return ""
        # A holder that has died is passed over by taking its lease.
        asked.acquire(blocking=False)
        asked.release()
    except Timeout:
        return name
    return ""


def worker(folder: Path) -> str:
    """Return the other process that works in a folder, "" if there is none.

    A file that a killed process left behind locks nothing.
    """
    try:
        if fcntl is None or (folder / LEASE).exists():
            return holder(folder)
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
