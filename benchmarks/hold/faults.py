"""Campaign ``faults``: a full disk, a read-only folder and no memory at every write.

Each starts before one change of a file (:mod:`benchmarks.hold.writes`). Of changes alike, such as
the rows of a journal, the first, the middle and the last are taken. The command must then end by
itself, with exit code 2 and a message that names the place and what to do, or with its work done;
nothing may be left half-written (but for what is aside in a folder that became read-only, where
nothing can be removed); and once the fault is over, the same command must end as if there
had been none.

The files are on a small file system in memory, which needs the right to mount one.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.hold.small import wait
from benchmarks.hold.tally import Tally, table
from benchmarks.hold.tally import failed as failed
from benchmarks.hold.whole import differing, left_aside, results, unreadable
from benchmarks.hold.works import Work, works
from benchmarks.hold.writes import Writes
from benchmarks.timing import say

from crossview.core.errors import Problem, UserError

VERBS = ("train", "evaluate", "predict", "suggest --drafts", "report", "compare")

SIZE = 400 << 20
"""Bytes of the small file system: training asks for more than 100 MiB of free space."""

SPARE = 1 << 20
"""Bytes of addresses that a command without memory may still take."""

PATIENCE = 60.0
"""Seconds that a command gets to end."""

PROMPT = 2.0
"""Seconds within which the watchdog of a dead process must have spoken."""


@dataclass
class Disturbed(Tally):
    """What a command made of a fault at each of its writes."""

    tries: int = 0
    refused: int = 0
    did_without: int = 0
    died: int = 0
    wrong_exits: int = 0
    wrong_messages: int = 0
    half_written: int = 0
    not_resumed: int = 0
    deaths: list[str] = field(default_factory=list)


FAULTS = ("wrong_exits", "wrong_messages", "half_written", "not_resumed")


def faults(place: Path, only: str = "") -> dict[str, Any]:
    """Run the campaign and return its results."""
    found: dict[str, Any] = {}
    with small_disk(place / "disk") as disk:
        for work in works(disk / "work"):
            if work.name not in VERBS:
                continue
            for kind in KINDS:
                name = f"{work.name}, {kind}"
                if only in name:
                    found[name] = vars(disturbed(work, kind, disk))
                    say(f"{name}: {found[name]}")
    return found


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Yield a folder on a file system of its own."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        fix = "run it as root, or within unshare -Urm"
        raise UserError(Problem("cannot mount a small disk", str(place), done.stderr, fix=fix))
    try:
        (place / "work").mkdir()
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def disturbed(work: Work, kind: str, disk: Path) -> Disturbed:
    """Disturb a command at each of its writes."""
    tally, log, listed = Disturbed(), disk.parent / "log.txt", disk.parent / "changes.txt"
    listed.unlink(missing_ok=True)
    log.write_text("")
    work.begin()
    (child,) = work.start(log, Writes(work.folder, listed=listed).watch)
    if wait(child) != 0:
        tally.fault("wrong_exits", f"undisturbed: {log.read_text()[-700:]}")
        return tally
    expected = results(work.folder)
    changes = listed.read_text().splitlines()
    for number in chosen(changes):
        log.write_text("")
        work.begin()
        started = KINDS[kind](work.folder, disk)
        (child,) = work.start(log, Writes(work.folder, number, started.begin).watch)
        code = wait(child, PATIENCE)
        if code is None:
            os.kill(child, 9)
            wait(child)
        started.end()
        at = f"{changes[number - 1]} ({number})"
        _judge(tally, work, at, code, log, started)
        if kind != "read-only" and (left := left_aside(work.folder)):
            tally.fault("half_written", f"{at}: {', '.join(left)}")
        _again(tally, work, at, expected, log, code)
    return tally


def chosen(changes: list[str]) -> list[int]:
    """Return the numbers of changes, from 1: of those alike the first, the middle and the last."""
    alike: dict[str, list[int]] = {}
    for number, change in enumerate(changes, 1):
        alike.setdefault(re.sub(r"\d+", "0", change), []).append(number)
    kept = ((each[0], each[len(each) // 2], each[-1]) for each in alike.values())
    return sorted({number for numbers in kept for number in numbers})


def _judge(
    tally: Disturbed, work: Work, at: str, code: int | None, log: Path, fault: Fault
) -> None:
    """Count how the disturbed command ended, and what it left."""
    text = log.read_text()
    tally.tries += 1
    tally.refused += code == 2
    tally.did_without += code == 0
    if fault.kills and (code is None or code < 0):
        tally.died += 1
        tally.deaths = [*tally.deaths, f"{at}: {'hung' if code is None else f'exit {code}'}"]
        if not _spoken_for(log, fault.place):
            tally.fault("wrong_messages", f"{at}: {text[-600:]}")
    elif code not in (0, 2) or "Traceback" in text:
        tally.fault("wrong_exits", f"{at}: exit {code}: {text[-600:]}")
    elif code == 2 and not ("fix:" in text and fault.place in text):
        tally.fault("wrong_messages", f"{at}: {text[text.find('error:') :][:600]}")
    if left := unreadable(work.folder):
        tally.fault("half_written", f"{at}: {', '.join(left)}")


def _spoken_for(log: Path, place: str) -> bool:
    """True once the watchdog of a process that died has named its place and what to do."""
    end = time.monotonic() + PROMPT
    while not ("fix:" in (text := log.read_text()) and place in text):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _again(
    tally: Disturbed, work: Work, at: str, expected: dict[str, str], log: Path, done: int | None
) -> None:
    """Run the command again, without the fault, unless it did without; compare what it leaves."""
    code = done
    if done != 0:
        log.write_text("")
        (child,) = work.start(log)
        code = wait(child)
    if code != 0:
        tally.fault("not_resumed", f"{at}: exit {code}: {log.read_text()[-600:]}")
        return
    if wrong := differing(expected, results(work.folder)) + left_aside(work.folder):
        tally.fault("not_resumed", f"{at}: {', '.join(wrong)}")


@dataclass(frozen=True)
class Fault:
    """A fault, begun in the command's process and ended by the campaign.

    place: text that the message must have.
    kills: True if libraries themselves may crash or wait for ever. That is counted apart; the run
        must be resumed all the same.
    """

    begin: Callable[[str], object]
    place: str
    end: Callable[[], object] = lambda: None
    kills: bool = False


def full_disk(folder: Path, disk: Path) -> Fault:
    """Fill the disk."""
    filler = disk / "filler"

    def fill(_: str) -> None:
        with filler.open("wb") as file:
            for size in (1 << 20, 4096):
                while (free := shutil.disk_usage(disk).free) >= size:
                    os.posix_fallocate(
                        file.fileno(),
                        os.fstat(file.fileno()).st_size,
                        min(size * (free // size), free),
                    )

    return Fault(fill, str(folder.parent), lambda: filler.unlink(missing_ok=True))


def read_only(folder: Path, disk: Path) -> Fault:
    """Take the permission to write from the command's folder, and from root its exemption."""

    def begin(_: str) -> None:
        _obey_permissions()
        _change_modes(folder, lambda mode: mode & ~0o222)

    return Fault(
        begin, str(folder.parent), lambda: _change_modes(folder, lambda mode: mode | 0o200)
    )


def _change_modes(folder: Path, change: Callable[[int], int]) -> None:
    for path in (folder.parent, folder, *folder.rglob("*")):
        if path.exists():
            path.chmod(change(path.stat().st_mode & 0o777))


def _obey_permissions() -> None:
    """Give up root's right to pass over permissions (Linux capabilities 1, 2 and 3)."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    library = ctypes.CDLL(None, use_errno=True)
    if library.capget(header, sets) == 0:
        for place in (0, 1):  # effective, permitted
            sets[place] &= ~0b1110
        library.capset(header, sets)


def no_memory(folder: Path, disk: Path) -> Fault:
    """Let the command take hardly any more memory."""

    def begin(_: str) -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + SPARE, resource.RLIM_INFINITY))

    return Fault(begin, "crossview ", kills=True)


KINDS: dict[str, Callable[[Path, Path], Fault]] = {
    "full disk": full_disk,
    "read-only": read_only,
    "no memory": no_memory,
}


def rows(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the table of the campaign."""
    columns = ("tries", "refused", "did_without", "died", *FAULTS)
    return table(found, "command and fault", columns)
