"""Shared parts of benchmarks: a clock that is right on CUDA, medians, machine facts, results files.

A results file is {"benchmark", "command", "machine", "settings", "results"}; it names no folder of
the machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from crossview.core.environment import environment_now
from crossview.core.errors import UserError
from crossview.core.files import write_text
from crossview.evaluation.record import FOLDERS
from crossview.training.device import Precision

Number = float | int


class Clock:
    """Marks in time; on CUDA events, which neither wait for the device nor run ahead of it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.marks: list[Any] = []

    def mark(self) -> None:
        self.marks.append(now(self.device))

    def intervals(self) -> list[float]:
        """Seconds between neighbouring marks. Waits for the device."""
        synchronise(self.device)
        return [between(first, second) for first, second in pairwise(self.marks)]


def now(device: torch.device) -> Any:
    """A mark in time: seconds, or on CUDA an event in the current stream."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def between(first: Any, second: Any) -> float:
    """Seconds from one mark to another; on CUDA both must have been reached."""
    return (
        float(second - first)
        if isinstance(first, float)
        else float(first.elapsed_time(second)) / 1000
    )


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], Any], device: torch.device | None = None) -> float:
    """Return the seconds of one call, including the work on the device."""
    device = device or torch.device("cpu")
    synchronise(device)
    start = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - start


def spread(values: Sequence[Number], digits: int = 4) -> dict[str, Any]:
    """Median, least, largest, and the values themselves."""
    rounded = [round(float(value), digits) for value in values]
    return {
        "median": round(statistics.median(values), digits),
        "min": min(rounded),
        "max": max(rounded),
        "values": rounded,
    }


def matmul_peak(device: torch.device, precision: Precision, side: int = 0) -> dict[str, Any]:
    """Return the best measured FLOP/s of square matrix products: 2 side^3 operations each."""
    side = side or (8192 if device.type == "cuda" else 2048)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    times = [seconds(lambda: left @ right, device) for _ in range(6)][1:]
    return {"flops_per_second": 2 * side**3 / min(times), "precision": precision, "side": side}


def forget_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> dict[str, Any]:
    """Return peak memory: of tensors since ``forget_peak_memory`` on CUDA, else resident.

    reserved_gib: includes what CUDA graphs keep for their passes and torch for the next tensors.
    """
    if device.type == "cuda":
        held = {
            "gib": torch.cuda.max_memory_allocated(device),
            "reserved_gib": torch.cuda.max_memory_reserved(device),
        }
        return {
            "kind": "allocated on the device",
            **{name: round(size / 2**30, 3) for name, size in held.items()},
        }
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 if sys.platform == "darwin" else 1
    )
    return {"kind": "resident memory of the process", "gib": round(kibibytes / 2**20, 3)}


def report(
    benchmark: str, settings: Mapping[str, Any], results: Mapping[str, Any], device: torch.device
) -> dict[str, Any]:
    """The content of a results file."""
    return {
        "benchmark": benchmark,
        "command": FOLDERS.sub(
            "", shlex.join(["python", "-m", f"benchmarks.{benchmark}", *sys.argv[1:]])
        ),
        "machine": environment_now(device),
        "settings": dict(settings),
        "results": dict(results),
    }


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of cells as aligned text; numbers are rounded to four digits."""
    cells = [
        [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def say(text: str) -> None:
    print(text, flush=True)


def add_common(parser: argparse.ArgumentParser) -> None:
    """--device and --json."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")


def finish(content: Mapping[str, Any], rows: Sequence[Sequence[Any]], file: Path | None) -> None:
    """Print the table and the machine, and write the results file."""
    machine = content["machine"]
    say(table(rows))
    version = machine["commit"] or machine["crossview"]
    say(
        f"{machine['device_name']}, {machine['threads']} threads, torch {machine['torch']}, "
        f"crossview {version}"
    )
    if file is not None:
        say(str(write_text(file, json.dumps(content, indent=1) + "\n")))


def run(main: Callable[[], None]) -> None:
    """Run a benchmark's main; a UserError ends it with its text and exit code 2."""
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
