"""Campaign ``mutate``: changed copies of every format are read or refused, and nothing else.

Counted: exceptions other than UserError, reads that compute for more than 5 s, processes over 2 GB,
processes that died, and code that a hostile file got to run.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.hold.corpus import scans
from benchmarks.hold.hostile import attempts, markup_shown
from benchmarks.hold.reading import Tally, attempt, read_batch
from benchmarks.hold.small import trained_run
from benchmarks.hold.texts import checkpoints, runs, texts
from benchmarks.hold.volumes import volumes
from benchmarks.timing import say

BATCH = 500
"""Files per child process."""

COLUMNS = ("files", "read", "refused", "tracebacks", "slow", "large", "died")

FAULTS = ("tracebacks", "slow", "large", "died")


def mutate(folder: Path, files: int, seed: int, only: str = "") -> dict[str, Any]:
    """Run the campaign over about ``files`` files and return its results."""
    run = trained_run(folder / "run")
    examples = scans(folder / "whole") + volumes(folder / "whole")
    examples += texts(run) + runs(run, folder) + checkpoints(run)
    examples = [example for example in examples if only in example.kind]
    place = folder / "changed"
    place.mkdir()
    kinds: dict[str, Tally] = defaultdict(Tally)
    shares = sum(example.share for example in examples if example.content is not None)
    for index, example in enumerate(examples):
        if example.content is None:
            kinds[example.kind].faults.append("no whole file of this format: nothing was read")
            continue
        count = max(1, round(files * example.share / shares))
        for start in range(0, count, BATCH):
            numbers = range(start, min(start + BATCH, count))
            kinds[example.kind].add(read_batch(example, place, 1000 * seed + index, numbers))
        say(f"{example.kind}: {kinds[example.kind].files} files")
    results: dict[str, Any] = {kind: vars(tally) for kind, tally in sorted(kinds.items())}
    if not only:
        results["hostile files"] = hostile(run, folder / "hostile")
    return results


def hostile(run: Path, folder: Path) -> dict[str, Any]:
    """Read the hostile files and return how each was met."""
    sign, met = folder / "code-has-run", dict[str, str]()
    for kind, read in attempts(run, folder, sign):
        sign.unlink(missing_ok=True)
        fault = attempt(lambda path, read=read: read(), folder)
        refused = "read" if fault is None else fault or "refused"
        met[kind] = "code has run" if sign.exists() else refused
    met["markup in names of cases"] = (
        "markup is shown" if markup_shown(run, folder) else "shown as text"
    )
    return met


def rows(results: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the table of the campaign."""
    table: list[tuple[Any, ...]] = [("kind", *COLUMNS, "slowest s", "peak MiB")]
    total = Tally()
    for kind, found in results.items():
        if kind == "hostile files":
            continue
        tally = Tally(**found)
        total.add(tally)
        table.append((kind, *_cells(tally)))
    table.append(("all", *_cells(total)))
    table += [(f"hostile: {kind}", met) for kind, met in results.get("hostile files", {}).items()]
    return _even(table)


def _cells(tally: Tally) -> tuple[Any, ...]:
    counts = (getattr(tally, column) for column in COLUMNS)
    return (*counts, round(tally.slowest, 2), tally.peak >> 20)


def _even(table: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    width = max(map(len, table))
    return [row + ("",) * (width - len(row)) for row in table]


def failed(results: dict[str, Any]) -> list[str]:
    """Return what did not hold."""
    found = []
    for kind, tally in results.items():
        if kind == "hostile files":
            found += [f"{each}: {met}" for each, met in tally.items() if met not in WELL]
        else:
            found += tally["faults"]
    return found


WELL = ("read", "refused", "shown as text")
