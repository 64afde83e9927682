"""What happens at the n-th change of a folder by a command that runs in a fork of this process.

Python reports each file that is opened, each folder that is made and each name that is changed or
removed; a hook counts those inside the folder and acts at one of them, before it takes place.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Writes:
    """A count of a fork's changes in ``folder``, which this process can read.

    Attributes:
        folder: The folder whose changes are counted.
        at: Number of the change, from 1, before which ``act`` is called; 0: at none.
        act: Called once, with the path of the change.
        listed: File that gets a line per change: what is done, and the path in the folder.
    """

    folder: Path
    at: int = 0
    act: Callable[[str], object] = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    listed: Path | None = None
    shared: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, 8))

    @property
    def count(self) -> int:
        return int(struct.unpack("q", self.shared[:])[0])

    def watch(self) -> None:
        """Count from here on. To be called in the fork; a hook cannot be taken away again."""
        inside, busy = f"{os.path.abspath(self.folder)}{os.sep}", False
        lines = self.listed and os.open(self.listed, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal busy
            if busy or not _changes(event, arguments):
                return
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if not f"{path}{os.sep}".startswith(inside):
                return
            number = self.count + 1
            self.shared[:] = struct.pack("q", number)
            if lines:
                os.write(lines, f"{event} {path.removeprefix(inside)}\n".encode())
            if number == self.at:
                busy = True
                try:
                    self.act(path)
                finally:
                    busy = False

        sys.addaudithook(hook)


def _changes(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        path, _, flags = arguments
        return isinstance(path, str | bytes | os.PathLike) and bool(flags & WRITING)
    return event in CHANGES and isinstance(arguments[0], str | bytes | os.PathLike)
