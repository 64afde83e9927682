"""Changed files read in child processes, each with its time, its peak memory and its outcome.

A child reads a batch of files and sends what it saw. One that dies or hangs names the file that it
was at, and the next child goes on behind it.
"""

from __future__ import annotations

import contextlib
import io
import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from benchmarks.hold.corpus import Example

from crossview.core.errors import UserError

SLOW = 5.0
"""Seconds of computing that no read may take."""

HANGS = 60.0
"""Seconds of computing after which a child is ended."""

LARGE = 2 * 2**30
"""Bytes of memory that no process may use for a file under 1 MB."""

ADDRESSES = 16 * 2**30
"""Bytes of addresses a child may take, so that a fault cannot exhaust the machine."""


@dataclass
class Tally:
    """What reading the changed files of one kind gave.

    faults: of the first files that were neither read nor refused properly, with their seed.
    """

    files: int = 0
    read: int = 0
    refused: int = 0
    tracebacks: int = 0
    slow: int = 0
    large: int = 0
    died: int = 0
    slowest: float = 0.0
    peak: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for name in ("files", "read", "refused", "tracebacks", "slow", "large", "died"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest, self.peak = max(self.slowest, other.slowest), max(self.peak, other.peak)
        self.faults = (self.faults + other.faults)[:5]


def read_batch(example: Example, folder: Path, seed: int, numbers: range) -> Tally:
    """Read the changed copies of an example with these numbers, in a child process."""
    total, start = Tally(), numbers.start
    while start < numbers.stop:
        tally, done = _child(example, folder, seed, range(start, numbers.stop))
        total.add(tally)
        start = done
    return total


def _child(example: Example, folder: Path, seed: int, numbers: range) -> tuple[Tally, int]:
    """Return what a child saw, and the number to go on with."""
    place = mmap.mmap(-1, 8)
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        status = 1
        try:
            _limit()
            tally = _read_all(example, folder, seed, numbers, place)
            with os.fdopen(send, "w") as pipe:
                json.dump(vars(tally), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(send)
    how = _wait(child, place)
    with os.fdopen(receive) as pipe:
        text = pipe.read()
    if how == 0 and text:
        return Tally(**json.loads(text)), numbers.stop
    # The files before the one that ended the child are read again: their tally is lost with it.
    at = struct.unpack("q", place[:])[0]
    before = _child(example, folder, seed, range(numbers.start, at))[0] if at > numbers.start else 0
    tally = Tally(files=1, died=1, faults=[f"{example.kind}, number {at}: ended with {how}"])
    if before:
        tally.add(before)
    return tally, at + 1


def _wait(child: int, place: mmap.mmap) -> int:
    """Wait for a child and return how it ended; end it if it stays at one file."""
    last, since = -1, 0.0
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        at, used = struct.unpack("q", place[:])[0], _computed(child)
        if at != last:
            last, since = at, used
        elif used - since > HANGS:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


def _computed(child: int) -> float:
    """Return the seconds that a process has computed; 0 where the system does not say."""
    try:
        text = Path(f"/proc/{child}/stat").read_text()
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    warnings.simplefilter("ignore")


def _read_all(example: Example, folder: Path, seed: int, numbers: range, place: mmap.mmap) -> Tally:
    tally = Tally()
    path = (example.home or folder) / example.name
    for number in numbers:
        place[:] = struct.pack("q", number)
        assert example.content is not None
        path.write_bytes(changed_copy(example, seed, number))
        _read_one(tally, example, path, number)
    if example.home is not None:
        path.write_bytes(example.content or b"")
    return tally


def changed_copy(example: Example, seed: int, number: int) -> bytes:
    """Return the changed copy of an example with this number."""
    assert example.content is not None
    return example.change(example.content, Random(f"{seed} {example.kind} {number}"))


def _read_one(tally: Tally, example: Example, path: Path, number: int) -> None:
    tally.files += 1
    _forget_peak()
    where, well, bad = f"{example.kind}, number {number}", True, False
    for read in example.reads:
        start = time.process_time()
        fault = attempt(read, path)
        seconds = time.process_time() - start
        tally.slowest = max(tally.slowest, seconds)
        if seconds > SLOW:
            tally.slow += 1
            tally.faults.append(f"{where}: {seconds:.1f} s")
        if fault is None:
            continue
        well = False
        if fault:
            bad = True
            tally.faults.append(f"{where}: {fault}")
    tally.read += well
    tally.tracebacks += bad
    tally.refused += not well and not bad
    peak = _peak()
    tally.peak = max(tally.peak, peak)
    if peak > LARGE:
        tally.large += 1
        tally.faults.append(f"{where}: {peak / 2**30:.1f} GiB")
    del tally.faults[5:]


def attempt(read: Callable[[Path], object], path: Path) -> str | None:
    """Return None if a read ended, "" if it raised UserError, else the exception and its place."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            read(path)
    except UserError:
        return ""
    except BaseException as error:  # the campaign counts every kind
        last = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in last if "crossview" in frame.filename] or last
        frame = own[-1]
        return f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"[:200]
    return None


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Return the peak of resident memory, in bytes, since it was last forgotten."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
