"""Memory that this process can still take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

ROOT = Path("/")


def available_memory(root: Path = ROOT) -> int | None:
    """Return the bytes of memory that are available, None if the system does not say (not Linux).

    They are the least of what the machine has left, swap included, and what the limits of the
    process's control groups leave (containers, Slurm). Caches of files count as available.
    """
    found = []
    with suppress(OSError, ValueError, KeyError):
        facts = _facts(root / "proc/meminfo")
        found.append(1024 * (facts["MemAvailable"] + facts.get("SwapFree", 0)))
    return min([*found, *_left_in_groups(root)], default=None)


def _left_in_groups(root: Path) -> list[int]:
    """Return the bytes left in each control group with a limit, of versions 1 and 2."""
    names = {
        "": ("memory.max", "memory.current", "inactive_file"),
        "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    }
    left = []
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            kind = "memory" if "memory" in controllers.split(",") else controllers
            if kind not in names:
                continue
            top = root / "sys/fs/cgroup" / kind
            group = top / path.lstrip("/")
            # Inside a container the path may be the host's, and only the top is there.
            for folder in (group, *group.parents):
                with suppress(OSError, ValueError):
                    limit, used = (
                        int((folder / name).read_text(encoding="utf-8")) for name in names[kind][:2]
                    )
                    caches = _facts(folder / "memory.stat").get(names[kind][2], 0)
                    left.append(max(0, limit - used + caches))
                if folder == top:
                    break
    return left


def _facts(path: Path) -> dict[str, int]:
    """Return the numbers of a file of lines "name: number ..."."""
    lines = (line.replace(":", " ").split() for line in path.read_text("utf-8").splitlines())
    return {name: int(number) for name, number, *_ in lines}
