"""Campaign ``many``: 16 processes on one suite's folder, by locks and by leases.

Leases take the place of locks on shared folders without them. There, half of the processes take
another name for their machine. Each run must be made once, none may be lost, and all must equal
those of one process.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.hold.small import command, start, wait
from benchmarks.hold.whole import differing, left_aside, results, unreadable
from benchmarks.hold.works import small_suite

from crossview.core.run_folder import RunFolder

SEEDS = 3

MADE = re.compile(r"^\[\d+/\d+\] (.+): Dice (?!.*done by another process)", re.MULTILINE)
"""Line of a run that a process made, wholly or to its end."""


def many(place: Path, processes: int) -> dict[str, Any]:
    """Run the suite by one process and by many, and return what was made."""
    file = small_suite(place / "tiny.toml", SEEDS)
    alone, log = place / "alone", place / "alone.log"
    code = command(["bench", str(file), "--out", str(alone)], log)
    if code:
        raise RuntimeError(log.read_text()[-2000:])
    expected = results(alone)
    return {
        how: _together(place, file, how, processes, expected, before)
        for how, before in (("locks", _as_it_is), ("leases", _by_leases))
    }


def _together(
    place: Path,
    file: Path,
    how: str,
    processes: int,
    expected: dict[str, str],
    before: Callable[[int], object],
) -> dict[str, Any]:
    out, logs = place / how, [place / f"{how}-{number}.log" for number in range(processes)]
    words = ["bench", str(file), "--out", str(out)]
    children = [
        start(words, log, lambda number=number: before(number)) for number, log in enumerate(logs)
    ]
    codes = [wait(child) for child in children]
    runs = sorted(path.parent for path in out.glob("*/*/recipe.toml"))
    made = [name for log in logs for name in MADE.findall(log.read_text())]
    names = differing(expected, results(out))
    wrong = [log.read_text()[-600:] for log, code in zip(logs, codes, strict=True) if code]
    return {
        "runs": len(runs),
        "makers": len({log for log in logs if MADE.search(log.read_text())}),
        "made_twice": sorted({name for name in made if made.count(name) > 1}),
        "lost": sorted(str(run.name) for run in runs if not RunFolder(run).journal.finished),
        "trained_in_parts": sorted(
            run.name for run in runs if RunFolder(run).journal.of("resumed")
        ),
        "different": names,
        "unreadable": unreadable(out) + left_aside(out),
        "wrong_exits": wrong[:3],
    }


def _as_it_is(number: int) -> None:
    pass


def _by_leases(number: int) -> None:
    """Do without locks; odd processes are on another machine."""
    from crossview.core import busy
    from crossview.runs import lock

    busy.fcntl = lock.fcntl = None  # type: ignore[assignment]
    if number % 2:
        socket.gethostname = lambda: "another-machine"


FAULTS = ("made_twice", "lost", "trained_in_parts", "different", "unreadable", "wrong_exits")


def rows(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the table of the campaign."""
    table = [
        (how, of["runs"], of["makers"], *(len(of[fault]) for fault in FAULTS))
        for how, of in found.items()
    ]
    heads = (name.replace("_", " ") for name in ("runs", "makers", *FAULTS))
    return [("by", *heads), *table]


def failed(found: dict[str, Any]) -> list[str]:
    """Return what did not hold."""
    return [
        f"{how}: {fault}: {text}"
        for how, of in found.items()
        for fault in FAULTS
        for text in of[fault]
    ]
