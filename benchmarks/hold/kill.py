"""Campaign ``kill``: commands are killed (-9) at random moments and started again until done.

A third of the moments is uniform over the time that the command takes undisturbed, a third follows
its first change of a file in the same way, and a third is the moment before a change of a file
(:mod:`benchmarks.hold.writes`). After each kill every file must be readable; in the end the files
must equal those of a command that was never killed, and nothing may be left aside.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.hold.small import wait
from benchmarks.hold.tally import KEPT, Tally, table
from benchmarks.hold.tally import failed as failed
from benchmarks.hold.whole import differing, left_aside, results, unreadable
from benchmarks.hold.works import Work, works
from benchmarks.hold.writes import Writes
from benchmarks.timing import say

SHARES = {"train": 10, "two processes": 5, "evaluate": 6, "predict": 7, "suggest --drafts": 5}
SHARES["bench"] = 7
"""Kills of each command in 40."""

PATIENCE = 60.0
"""Seconds that the other process gets to notice that one was killed."""

ROUNDS = 40
"""Starts that are disturbed one after the other; then the command is left alone, to finish."""


@dataclass
class Killed(Tally):
    """What became of a command that was killed again and again."""

    kills: int = 0
    starts: int = 0
    finished: int = 0
    before_a_file: int = 0
    unreadable: int = 0
    different: int = 0
    left_aside: int = 0
    wrong_exits: int = 0
    seconds: float = 0.0


FAULTS = ("unreadable", "different", "left_aside", "wrong_exits")


def kill(place: Path, kills: int, seed: int, only: str = "") -> dict[str, Any]:
    """Run the campaign with about this number of kills and return its results."""
    found: dict[str, Any] = {}
    for work in works(place):
        if work.name in SHARES and only in work.name:
            count = max(1, round(kills * SHARES[work.name] / sum(SHARES.values())))
            found[work.name] = vars(killed(work, count, seed))
            say(f"{work.name}: {found[work.name]}")
    return found


def killed(work: Work, kills: int, seed: int) -> Killed:
    """Kill a command this number of times, from start to end again and again."""
    tally, log = Killed(), work.folder.with_suffix(".log")
    whole = Writes(work.folder)
    work.begin()
    begun = time.monotonic()
    codes = [wait(child) for child in work.start(log, whole.watch)]
    tally.seconds = round(time.monotonic() - begun, 2)
    if any(codes):
        tally.fault("wrong_exits", f"undisturbed: {codes}: {log.read_text()[-500:]}")
        return tally
    expected = results(work.folder)
    while tally.kills < kills and len(tally.faults) < KEPT:
        work.begin()
        for _ in range(ROUNDS):
            random = Random(f"{seed} {work.name} {tally.starts}")
            log.write_text("")
            codes = _disturbed(work, log, tally, whole.count, random)
            if unread := unreadable(work.folder):
                tally.fault("unreadable", f"start {tally.starts}: {'; '.join(unread)}")
            if -signal.SIGKILL not in codes:
                break
        else:
            codes = [wait(child) for child in work.start(log)]
        _ended(work, codes, expected, tally, log)
    return tally


def _ended(
    work: Work, codes: list[int], expected: dict[str, str], tally: Killed, log: Path
) -> None:
    """Judge a command that was started until it ended by itself."""
    if any(codes):
        text = log.read_text()[-700:]
        tally.fault("wrong_exits", f"start {tally.starts}: exit {codes}: {text}")
        return
    tally.finished += 1
    if names := differing(expected, results(work.folder)):
        tally.fault("different", f"start {tally.starts}: {', '.join(names)}")
    if aside := left_aside(work.folder):
        tally.fault("left_aside", f"start {tally.starts}: {', '.join(aside)}")


def _disturbed(work: Work, log: Path, tally: Killed, changes: int, random: Random) -> list[int]:
    """Start a command, kill it at a random moment and return the exit codes of its processes."""
    how = random.choice(("from the start", "from the first file", "at a file"))
    at = random.randint(1, changes) if how == "at a file" else 0
    delay = random.uniform(0, 1.1 * tally.seconds)
    writes = Writes(work.folder, at)
    children = work.start(log, writes.watch)
    tally.starts += 1
    codes: dict[int, int] = {}
    if how == "from the first file":
        while not writes.count and not _poll(children, codes):
            time.sleep(0.002)
        delay = random.uniform(0, 0.5 * tally.seconds)
    end = time.monotonic() + (PATIENCE if at else delay)
    while time.monotonic() < end and not _poll(children, codes):
        time.sleep(0.002)
    # One process of several is killed, or all.
    victims = random.choice([children, *([child] for child in children)])
    for child in victims:
        if child not in codes:
            os.kill(child, signal.SIGKILL)
    _reap(children, codes, tally)
    if -signal.SIGKILL in codes.values():
        tally.kills += 1
        tally.before_a_file += not writes.count
    return [codes[child] for child in children]


def _poll(children: list[int], codes: dict[int, int]) -> bool:
    """Note the processes that have ended. True if any has."""
    for child in children:
        if child not in codes and (code := wait(child, 0)) is not None:
            codes[child] = code
    return bool(codes)


def _reap(children: list[int], codes: dict[int, int], tally: Killed) -> None:
    """Wait for the processes that are left; they must notice that one was killed."""
    for child in children:
        if child in codes:
            continue
        code = wait(child, PATIENCE)
        if code is None:
            os.kill(child, signal.SIGKILL)
            code = wait(child)
            tally.fault("wrong_exits", f"start {tally.starts}: a process waits for a killed one")
        assert code is not None
        codes[child] = code


def rows(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the table of the campaign."""
    columns = ("kills", "starts", "finished", "before_a_file", *FAULTS, "seconds")
    return table(found, "command", columns)
