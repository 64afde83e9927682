"""How much memory the prepared volumes may take, and on which disk the rest of them lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

AUTO_SHARE = 0.5
"""Of the memory that is available when the volumes are read: networks, batches and the page cache need the rest."""


@dataclass(frozen=True)
class Room:
    """memory: bytes for prepared volumes. folder: exists; on its disk lies what is beyond them."""

    memory: float
    folder: Path

    @staticmethod
    def of(memory_gb: float | Literal["auto"], out: Path | None) -> Room | None:
        """The room of a recipe for a run folder ``out``, which need not exist; None without a limit, where nobody says what there is.

        Without a run folder the disk is that of the working folder.
        """
        if memory_gb != "auto":
            memory = 1e9 * memory_gb
        elif (available := available_memory()) is not None:
            memory = AUTO_SHARE * available
        else:
            return None
        place = (out or Path()).absolute()
        return Room(memory, next(parent for parent in (place, *place.parents) if parent.is_dir()))

    def less(self, nbytes: int) -> Room:
        """The room that is left."""
        return replace(self, memory=max(0.0, self.memory - nbytes))


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that a process can still take, by the system and by the limits of its container or job (cgroups, both versions).

    Where there is no /proc (macOS) a half of the computer's memory; None where even that is not told (Windows).
    """
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        free = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError):
        free = []
    if free:
        return max(0, min(free + list(_left_in_groups(root))))
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return None


def _left_in_groups(root: Path) -> Iterator[int]:
    """What each cgroup of this process leaves, from its own up to the root: its limit less its use, of which cached files may go."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount, names = (
                root / "sys/fs/cgroup/memory",
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            )
        else:
            continue
        group = mount / path.lstrip("/")
        for folder in (
            group,
            *(parent for parent in group.parents if parent.is_relative_to(mount)),
        ):
            try:
                limit, used = (
                    int((folder / name).read_text(encoding="ascii")) for name in names[:2]
                )
                rows = (
                    row.split()
                    for row in (folder / "memory.stat").read_text(encoding="ascii").splitlines()
                )
                cached = next((int(row[1]) for row in rows if row[0] == names[2]), 0)
            except (OSError, ValueError):  # no such group here, or no limit: "max"
                continue
            yield limit - used + cached
