"""Campaign ``preempt``: a run trains in slots, each ended by SIGTERM or SIGKILL in turn.

Every slot is a new process, as on a cluster that takes machines back. Measured: the time from the
start of a process to the end of its first step, and the steps that a kill lost. In the end the run
must equal one that was never stopped.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.hold.small import sets
from benchmarks.hold.whole import differing, left_aside, results
from benchmarks.hold.works import made_folder
from benchmarks.timing import say, spread

from crossview.core.errors import Problem, UserError
from crossview.core.run_folder import JOURNAL, RunFolder

KEYS = (
    "data.patch=[24,24,24]",
    "network.filters=4",
    "network.levels=3",
    "training.precision=float32",
    "training.device=cpu",
    "training.parallel=off",
    "training.log_every=1",
    "training.checkpoint_every=5",
    "data.spacing=[1,1,1]",
)

PATIENCE = 300.0
"""Seconds that a process gets to its first step, and to its end."""


def preempt(place: Path, steps: int, slots: tuple[float, float], seed: int) -> dict[str, Any]:
    """Train a run undisturbed and one in slots of this many seconds, and return both."""
    data = made_folder(place / "data", shape=(48, 48, 48), scans=16, labelled=6)
    words = [sys.executable, "-m", "crossview", "train", "folder", "--data", str(data)]
    words += ["--steps", str(steps), *sets(KEYS)]
    alone = Process(words, place / "alone")
    first = alone.first_step(0)
    code = alone.process.wait()
    if code:
        raise UserError(Problem("training failed", str(place), alone.log.read_text()[-2000:]))
    found: dict[str, Any] = {"undisturbed": {"first_step": first, "seconds": alone.seconds()}}
    say(f"undisturbed: {found['undisturbed']}")
    run, random, past = place / "run", Random(seed), list[dict[str, Any]]()
    while True:
        process = Process([*words, *(["--resume"] if past else [])], run)
        slot = {"first_step": process.first_step(len(past))}
        number = signal.SIGKILL if len(past) % 2 else signal.SIGTERM
        seconds = random.uniform(*slots)
        try:
            slot["exit"] = process.process.wait(seconds)
        except subprocess.TimeoutExpired:
            at = RunFolder(run).journal.total_step
            process.process.send_signal(number)
            stopped = time.monotonic()
            slot |= {"exit": process.process.wait(PATIENCE), "signal": int(number), "at_step": at}
            slot["seconds_to_stop"] = round(time.monotonic() - stopped, 2)
        slot["seconds"] = process.seconds()
        past.append(slot)
        say(f"slot {len(past)}: {slot}")
        if slot["exit"] == 0 or "signal" not in slot:  # done, maybe as the signal came
            break
    found["slots"] = past
    found["steps_done_again"] = _done_again(run, past)
    found["different"] = _different(place / "alone", run)
    return found


class Process:
    """A process that trains into a folder."""

    def __init__(self, words: list[str], out: Path) -> None:
        self.out, self.log, self.begun = out, out.with_suffix(".log"), time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen([*words, "--out", str(out)], stdout=log, stderr=log)

    def seconds(self) -> float:
        return round(time.monotonic() - self.begun, 2)

    def first_step(self, resumed: int) -> float | None:
        """Return the seconds to its first step, after this many resumes; None if it has none."""
        journal, size = self.out / JOURNAL, -1
        while self.process.poll() is None and self.seconds() < PATIENCE:
            time.sleep(0.02)
            # A long journal takes a while to read, on cores that the process needs.
            now = journal.stat().st_size if journal.exists() else 0
            if now == size:
                continue
            size = now
            kinds = [row["kind"] for row in RunFolder(self.out).journal.rows]
            if kinds.count("resumed") >= resumed and "step" in _after_the_last(kinds, "resumed"):
                return self.seconds()
        return None


def _after_the_last(kinds: list[str], kind: str) -> list[str]:
    place = len(kinds) - 1 - kinds[::-1].index(kind) if kind in kinds else -1
    return kinds[place + 1 :]


def _done_again(run: Path, past: list[dict[str, Any]]) -> list[int]:
    """Return the steps after each stop's checkpoint, which the next slot does again."""
    resumes = RunFolder(run).journal.of("resumed")
    stops = [slot["at_step"] for slot in past if "signal" in slot]
    return [max(0, at - row["total_step"]) for at, row in zip(stops, resumes, strict=False)]


def _different(alone: Path, run: Path) -> list[str]:
    names = differing(results(alone), results(run))
    return sorted({*names, *left_aside(run)})


def rows(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the table of the campaign."""
    slots = found["slots"]
    lost = spread([slot["first_step"] for slot in slots if slot["first_step"]], 2)
    together = sum(slot["seconds"] for slot in slots)
    stopped = [slot for slot in slots if "signal" in slot]
    return [
        ("", "figure"),
        ("preemptions", len(stopped)),
        ("of them killed", sum(slot["signal"] == signal.SIGKILL for slot in stopped)),
        ("start to the first step, s", f"{lost['median']} ({lost['min']} to {lost['max']})"),
        ("steps done again after a stop", " ".join(map(str, found["steps_done_again"]))),
        ("seconds of all slots", round(together, 1)),
        ("seconds undisturbed", found["undisturbed"]["seconds"]),
        ("equal in the end", "yes" if not found["different"] else "no"),
    ]


def failed(found: dict[str, Any]) -> list[str]:
    """Return what did not hold."""
    exits = {signal.SIGTERM: (143,), signal.SIGKILL: (-9,)}
    wrong = [
        f"exit {slot['exit']} of slot {number}: {slot}"
        for number, slot in enumerate(found["slots"], 1)
        if slot["exit"] not in (0, *exits.get(slot.get("signal"), ()))
    ]
    return wrong + [f"different: {name}" for name in found["different"]]
