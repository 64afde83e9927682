"""Campaign ``load``: training next to two busy processes, in turn with training alone."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.hold.preempt import KEYS
from benchmarks.hold.small import sets
from benchmarks.hold.works import made_folder
from benchmarks.timing import say, spread

from crossview.core.errors import Problem, UserError

LIMIT = 2.5
"""Times that training may take longer next to the busy processes."""

BUSY = 2


def load(place: Path, steps: int, repeats: int) -> dict[str, Any]:
    """Train alone and next to busy processes in turn, and return the seconds of each."""
    data = made_folder(place / "data", shape=(48, 48, 48), scans=16, labelled=6)
    words = [sys.executable, "-m", "crossview", "train", "folder", "--data", str(data)]
    words += ["--steps", str(steps), *sets(KEYS[:-2])]
    found: dict[str, Any] = {"quiet": [], "loaded": []}
    for turn in range(repeats):
        for name in found:
            log = place / "log.txt"
            with ExitStack() as busy:
                for _ in range(BUSY if name == "loaded" else 0):
                    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
                    busy.callback(process.wait)
                    busy.callback(process.kill)
                begun = time.monotonic()
                with log.open("w") as lines:
                    out = ["--out", str(place / f"{name}{turn}")]
                    done = subprocess.run([*words, *out], stdout=lines, stderr=lines, check=False)
                found[name].append(round(time.monotonic() - begun, 2))
            if done.returncode:
                raise UserError(Problem("training failed", str(place), log.read_text()[-2000:]))
            say(f"{name}: {found[name][-1]} s")
    pairs = zip(found["loaded"], found["quiet"], strict=True)
    return found | {"ratio": spread([loaded / quiet for loaded, quiet in pairs], 2)}


def rows(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the table of the campaign."""
    ratio = found["ratio"]
    return [
        ("", "figure"),
        ("seconds alone", " ".join(map(str, found["quiet"]))),
        (f"seconds next to {BUSY} busy processes", " ".join(map(str, found["loaded"]))),
        ("ratio in turn", f"{ratio['median']} ({ratio['min']} to {ratio['max']})"),
    ]


def failed(found: dict[str, Any]) -> list[str]:
    """Return what did not hold."""
    median = found["ratio"]["median"]
    return [f"{median} times as long, at most {LIMIT} wanted"] if median > LIMIT else []
