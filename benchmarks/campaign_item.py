"""How the campaign runs things: a clock that nothing outlasts, programs that are told to stop in time, and runs side by side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.record import file_name, record

from crossview.evaluation.finished import method_label
from crossview.files import write_text
from crossview.folder import Run
from crossview.resolve import resolve
from crossview.suite import slug
from crossview.training.journal import read_journal

TO_SAVE = 40.0
"""Seconds kept for a training to end its step, save, and write its report."""
LOOK_EVERY = 1.0
TELL_EVERY = 20.0
LOG_END = 2000
"""Characters of a program's log that are brought back."""


class Failed(Exception):  # noqa: N818
    """An item could not be done."""


class NoTimeLeft(Exception):  # noqa: N818
    """An item was stopped, saved; the next call goes on with it."""


def say(text: str) -> None:
    """A line of the summary."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)  # noqa: T201


class Clock:
    """The time that is left."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()

    def end(self) -> None:
        """From now on no more than what saving takes is left."""
        self._end = min(self._end, time.monotonic() + TO_SAVE)


@dataclass
class Context:
    """Where things lie, on what device, and until when. folders: the data sets that are there. official: the release's code, if it is."""

    work: Path
    out: Path
    clock: Clock
    device: str
    folders: dict[str, Path] = field(default_factory=dict)
    official: Path | None = None

    @staticmethod
    def make(work: Path, out: Path, minutes: float, device: str) -> Context:
        context = Context(work, out, Clock(minutes), device)
        for folder in (work / "runs", work / "logs", context.results, out):
            folder.mkdir(parents=True, exist_ok=True)
        return context

    @property
    def results(self) -> Path:
        return self.work / "results"

    def folder_of(self, name: str) -> Path | None:
        """The folder of a data set, or of "all" of them side by side; None where it is not there."""
        if name != "all":
            return self.folders.get(name)
        parents = {folder.parent for folder in self.folders.values()}
        return parents.pop() if len(parents) == 1 and len(self.folders) > 1 else None

    def keep(self, name: str, content: Mapping[str, Any]) -> None:
        """A results file."""
        write_text(self.results / name, json.dumps(content, indent=1) + "\n")

    def log(self, name: str) -> Path:
        return self.work / "logs" / f"{name}.log"

    def log_end(self, name: str) -> str:
        text = (
            self.log(name).read_text(encoding="utf-8", errors="replace")
            if self.log(name).exists()
            else ""
        )
        return text[-LOG_END:]


def program(
    context: Context, name: str, arguments: Sequence[str], threads: int = 0
) -> subprocess.Popen[bytes]:
    """``python -m ARGUMENTS`` under way, its output in the log of that name."""
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    with context.log(name).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def finished(
    context: Context, name: str, arguments: Sequence[str], keep: float = 5.0, threads: int = 0
) -> int:
    """Run ``python -m ARGUMENTS`` to its end; its exit code. Raises NoTimeLeft, the program ended, when the clock runs out."""
    process = program(context, name, arguments, threads)
    try:
        return process.wait(max(0.1, context.clock.left() - keep))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise NoTimeLeft(f"no time left for {name}") from None


# -- training ------------------------------------------------------------------------------------------------------------


def sets_of(run: Mapping[str, Any]) -> list[str]:
    """What the recipe of a run is changed by."""
    return [*run.get("set", []), *([f"training.seed={run['seed']}"] if "seed" in run else [])]


def run_name(run: Mapping[str, Any]) -> str:
    """setting-method-seedK: of its folder and its results file, as benchmarks.record names it."""
    recipe = resolve(run["recipe"], sets_of(run))
    return f"{slug(recipe.setting)}-{slug(method_label(recipe.tables()['method']))}-seed{recipe.training.seed}"


def results_of(item: Mapping[str, Any]) -> list[str]:
    """The names of the results files that make an item done."""
    if item["kind"] == "train":
        return [f"{run_name(run)}.json" for run in item["runs"]]
    return [f"gpu-{item['name']}.json"]


def train(item: Mapping[str, Any], context: Context) -> None:
    """Train the item's runs side by side, then evaluate each. Raises NoTimeLeft, all saved, or Failed."""
    runs = {run_name(run): run for run in item["runs"]}
    left = {
        name: run for name, run in runs.items() if not (context.results / f"{name}.json").exists()
    }
    data = context.folder_of(item.get("needs", ""))
    codes = _side_by_side(left, data, context)
    failed = [name for name, code in codes.items() if code not in (0, 128 + signal.SIGTERM)]
    for name in failed:
        say(f"{name}: exit code {codes[name]}; its log ends:\n{context.log_end(name)}")
    for name in left:
        if codes[name] == 0:
            _evaluate(name, data, context)
    if failed:
        raise Failed(", ".join(failed))
    if any(code != 0 for code in codes.values()):
        raise NoTimeLeft("stopped and saved")


def _side_by_side(
    runs: Mapping[str, Mapping[str, Any]], data: Path | None, context: Context
) -> dict[str, int]:
    """Train each run to its end, or all of them until the clock says stop; their exit codes."""
    threads = max(1, (os.cpu_count() or 1) // max(1, len(runs))) if len(runs) > 1 else 0
    processes = {
        name: program(context, name, _arguments(name, run, data, context), threads)
        for name, run in runs.items()
    }
    told, stopped = time.monotonic(), False
    while any(process.poll() is None for process in processes.values()):
        time.sleep(LOOK_EVERY)
        if context.clock.left() < TO_SAVE and not stopped:
            stopped = True
            for process in processes.values():
                process.send_signal(signal.SIGTERM)
        if context.clock.left() < 3:
            for process in processes.values():  # its last checkpoint is at most a minute old
                process.kill()
        if time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            tell(context, list(runs))
    tell(context, list(runs), aloud=True)
    return {name: process.wait() for name, process in processes.items()}


def _arguments(name: str, run: Mapping[str, Any], data: Path | None, context: Context) -> list[str]:
    folder = context.work / "runs" / name
    begun = (folder / "recipe.toml").exists()
    sets = [*sets_of(run), f"training.device={context.device}", "training.checkpoint_every=60"]
    return [
        *("crossview", "train", run["recipe"], "--out", str(folder)),
        *(() if data is None else ("--data", str(data))),
        *(part for each in sets for part in ("--set", each)),
        *(("--resume",) if begun else ()),
    ]


def _evaluate(name: str, data: Path | None, context: Context) -> None:
    folder = context.work / "runs" / name
    began = time.monotonic()
    code = finished(
        context,
        f"{name}-evaluate",
        ["crossview", "evaluate", str(folder), *(() if data is None else ("--data", str(data)))],
    )
    if code != 0:
        raise Failed(
            f"{name}: evaluation ended with {code}:\n{context.log_end(f'{name}-evaluate')}"
        )
    run = Run.open(folder)
    content = record(run) | {"evaluation_seconds": round(time.monotonic() - began, 1)}
    context.keep(file_name(run), content)
    mean = content["summary"]["mean"]
    say(
        f"{name}: {content['training_seconds']} s of training; "
        + ", ".join(f"{key} {value['mean']}" for key, value in mean.items())
    )


def tell(context: Context, names: Sequence[str], *, aloud: bool = False) -> None:
    """progress.json: where each run stands, its latest journal row and some rows on the way, so that every minute leaves numbers."""
    known = {}
    for name in names:
        rows = [
            row
            for row in read_journal(context.work / "runs" / name / "journal.jsonl")
            if row["kind"] in ("step", "warning")
        ]
        steps = [row for row in rows if row["kind"] == "step"]
        curve = [[row["total_step"], row["loss"]] for row in steps[:: max(1, len(steps) // 50)]]
        warnings = [row["text"] for row in rows if row["kind"] == "warning"][-3:]
        known[name] = {
            "latest": steps[-1] if steps else None,
            "curve": curve,
            "warnings": warnings,
            "log": context.log_end(name),
        }
        if aloud and steps:
            keys = ("stage", "total_step", "loss", "samples_per_second", "data_wait", "seconds")
            say(
                f"{name}: "
                + ", ".join(
                    f"{key} {steps[-1][key]:.5g}" if key != "stage" else steps[-1][key]
                    for key in keys
                )
            )
    write_text(
        context.out / "progress.json", json.dumps({"runs": known, "gpu": gpu()}, indent=1) + "\n"
    )


def gpu() -> str:
    """What nvidia-smi tells of name, load and memory now; empty where there is none."""
    query = "--query-gpu=name,driver_version,utilization.gpu,memory.used,power.draw,clocks.sm"
    try:
        return subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
