"""``crossview bench``: the runs of a suite one after the other, and the table so far after each of them.

A run that is done is skipped, one that was stopped or killed is gone on with, one of another recipe than the suite now asks for is
refused. A run whose record is there is done, wherever it was trained. Seeds are outermost, so a suite that was stopped early has
compared all its methods on the seeds it came to.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossview.core.errors import STOPS, Problem, Terminated, UserError
from crossview.core.files import write_text
from crossview.core.run_folder import MEMBERSHIP, RunFolder
from crossview.evaluation.compare import Comparison, compare
from crossview.evaluation.finished import FinishedRun, membership, read_run
from crossview.evaluation.record import make_record, write_record
from crossview.evaluation.tables import duration
from crossview.reporting.compared import write_table
from crossview.runs.bench.runs import (
    Planned,
    check_recipes,
    check_unchanged,
    chosen_runs,
    every_run,
    told,
)
from crossview.runs.bench.suite import Suite, load_suite
from crossview.runs.evaluate import evaluate
from crossview.runs.lock import LOCK, LockedError, locked
from crossview.runs.run import check_free
from crossview.runs.train import train

TABLES = ("compare.csv", "compare.md", "compare.html")


MADE_FIRST = (LOCK, "environment.json", "checkpoints", "pictures", "recipe.toml")
"""What stands in a run folder while it is being made."""


Say = Callable[[str], None]


class StoppedError(Exception):
    """A signal ended the training of a run; everything is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.signal = number


@dataclass(frozen=True)
class Bench:
    """What came of a suite. runs: those that were asked for. failed: those that could not be done, and why.

    comparison: of all runs of the suite that are done; None where none is. stopped: the signal that ended it, else 0.
    elsewhere: those that another process was at, and that were left to it.
    """

    runs: tuple[Planned, ...]
    failed: tuple[tuple[Planned, UserError], ...]
    comparison: Comparison | None
    stopped: int = 0
    elsewhere: tuple[Planned, ...] = ()

    @property
    def problems(self) -> list[Problem]:
        """Why runs failed; a problem that several share is told once, with their folders."""
        shared: dict[Problem, list[Path]] = {}
        for run, error in self.failed:
            for problem in error.problems:
                shared.setdefault(problem, []).append(run.path)
        return [
            replace(problem, where=": ".join(filter(None, [told(paths), problem.where])))
            for problem, paths in shared.items()
        ]


def bench(
    suite: str | Path | Suite,
    out: Path | str,
    data: Path | str | None = None,
    *,
    only: Sequence[str] = (),
    settings: Sequence[str] = (),
    seeds: int | None = None,
    records: Path | str | None = None,
    say: Say = lambda _: None,
) -> Bench:
    """Train and test the runs of a suite into ``out``/<setting>/<row>-seed<k>, and keep their table beside them.

    only: labels of the rows to run. settings: names of the settings to run. seeds: the first so many. say: is told a line a run.
    records: a folder that gets a record of each run; a run whose record is there is done, and needs no folder.
    A run that fails with a UserError does not stop the others. Raises UserError, before anything is written, for a suite that can't
    be run, and for runs that are there and were made by another recipe.
    """
    suite, out, data, runs = _checked(suite, out, data, only, settings, seeds, records)
    table, clock = _Table(suite, out, records, say), _Clock(runs)
    for run in clock.done:
        keep_record(run)
    say(f"{suite.name}: {len(clock.done)} of {len(runs)} runs are done")
    failed: list[tuple[Planned, UserError]] = []
    elsewhere: list[Planned] = []
    stopped = 0
    try:
        for number, run in enumerate(runs, start=1):
            if run in clock.done:
                continue
            by_other = finished(run) is not None
            try:
                clock.done[run] = found = run_one(run, data)
                keep_record(run)
                came = f"Dice {100 * found.mean('dice'):.2f} %, {duration(found.seconds + found.scoring_seconds)}{clock.left()}"
                came += ", done by another process" if by_other else ""
            except LockedError as error:
                clock.closed.add(run)
                elsewhere.append(run)
                came = f"left to another process ({error.problems[0].found})"
            except UserError as error:
                clock.closed.add(run)
                failed.append((run, error))
                came = f"failed: {error.problems[0].what}"
            say(f"[{number}/{len(runs)}] {run.name}: {came}")
            table.write()
    except StoppedError as stop:
        stopped = stop.signal
    except STOPS as stop:
        stopped = int(signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
    return Bench(
        tuple(runs), tuple(failed), table.comparison or table.write(), stopped, tuple(elsewhere)
    )


def outlook(
    suite: str | Path | Suite,
    out: Path | str,
    data: Path | str | None = None,
    *,
    only: Sequence[str] = (),
    settings: Sequence[str] = (),
    seeds: int | None = None,
    records: Path | str | None = None,
) -> list[str]:
    """What :func:`bench` would do, a line a run; nothing is written. Raises UserError as it does."""
    suite, out, data, runs = _checked(suite, out, data, only, settings, seeds, records)
    done = sum(finished(run) is not None for run in runs)
    head = f"{suite.name}: {done} of {len(runs)} runs are done, protocol {suite.protocol}, baseline {suite.baseline}"
    return [
        head,
        *(
            f"[{number}/{len(runs)}] {run.name}: {_state(run)}  ({run.source})"
            for number, run in enumerate(runs, start=1)
        ),
    ]


def _checked(
    suite: str | Path | Suite,
    out: Path | str,
    data: Path | str | None,
    only: Sequence[str],
    settings: Sequence[str],
    seeds: int | None,
    records: Path | str | None,
) -> tuple[Suite, Path, Path | None, list[Planned]]:
    """The suite, the folders and the runs that were asked for, if all of it holds. Raises UserError."""
    suite = suite if isinstance(suite, Suite) else load_suite(suite)
    out, data = Path(out), None if data is None else Path(data)
    kept = None if records is None else Path(records)
    runs = chosen_runs(suite, out, only=only, settings=settings, seeds=seeds, records=kept)
    if data is not None and not data.exists():
        raise UserError(Problem("there is no such folder of data", str(data)))
    check_recipes(runs)
    check_unchanged(runs)
    return suite, out, data, runs


def run_one(run: Planned, data: Path | None) -> FinishedRun:
    """Train and test a run, from wherever it stands.

    Raises UserError, LockedError where another process is at it, and StoppedError where a signal ended its training.
    """
    if not RunFolder(run.path).exists:
        _clear_half_made(run.path)
        check_free(run.path, overwrite=False)
    with locked(run.path):
        _, outcome = train(
            run.setting.recipe,
            data,
            run.path,
            overrides=run.sets,
            resume=RunFolder(run.path).exists,
        )
        remember(
            run
        )  # not where train refused: what is in the folder may then be of another recipe
        if outcome.how == "interrupted":
            raise StoppedError(outcome.signal)
        if finished(run) is None:
            evaluate(run.path, data)
        return read_run(run.path, "test")


def finished(run: Planned) -> FinishedRun | None:
    """The run, by its record or its folder, if it is known to be of its suite, trained to its end, and tested on all cases."""
    if membership(run.source) is None:
        return None
    try:
        found = read_run(run.source, "test")
    except UserError:
        return None
    return None if found.partial else found


def remember(run: Planned) -> None:
    """Write bench.json into the run's folder: its place in the suite (Membership), and the recipe that was asked for."""
    content = {
        **run.membership,
        "started": RunFolder(run.path).environment.get("started"),
        "asked": run.asked,
    }
    write_text(run.path / MEMBERSHIP, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def keep_record(run: Planned) -> None:
    """Write the record of a run that is done, where records are kept and it is not there yet."""
    if run.record is None or run.record.exists():
        return
    with locked(run.path, wait=True):  # another process may be about to write the same
        if not run.record.exists():
            write_record(run.record, make_record(RunFolder(run.path)))


def _clear_half_made(path: Path) -> None:
    """Remove what a kill left of the making of a run folder: no recipe is in it yet, and no checkpoint. Raises LockedError."""
    if not path.is_dir() or any((path / "checkpoints").glob("*")):
        return
    if all(entry.name.removesuffix(".part") in MADE_FIRST for entry in path.iterdir()):
        with locked(path):
            for entry in path.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
                elif entry.name != LOCK:
                    entry.unlink()


def _state(run: Planned) -> str:
    """Where a run stands, in words."""
    found = finished(run)
    if found is not None:
        return f"done, Dice {100 * found.mean('dice'):.2f} %"
    folder = RunFolder(run.path)
    if not folder.exists:
        return "to do"
    journal = folder.journal
    return "trained, to be tested" if journal.finished else f"begun, at step {journal.total_step:,}"


class _Clock:
    """Which runs are done, and how long the others will take: as long as those of the same row, else as all on average."""

    def __init__(self, runs: Sequence[Planned]) -> None:
        self.runs = runs
        self.done = {run: found for run in runs if (found := finished(run)) is not None}
        self.closed: set[Planned] = set()
        """Runs that this call will not do: those that failed, and those that another process is at."""

    def left(self) -> str:
        """The time left in words, with what comes before it; nothing where nothing is left to do."""
        times: dict[tuple[str, str], list[float]] = {}
        for run, found in self.done.items():
            times.setdefault((run.setting.name, run.row.label), []).append(
                found.seconds + found.scoring_seconds
            )
        every = [seconds for of_row in times.values() for seconds in of_row]
        open_ = [run for run in self.runs if run not in self.done and run not in self.closed]
        alike = [times.get((run.setting.name, run.row.label), every) for run in open_]
        return (
            f", about {duration(sum(sum(of_row) / len(of_row) for of_row in alike))} left"
            if alike
            else ""
        )


class _Table:
    """The comparison of all runs of a suite that are done, those of other calls too, as files."""

    def __init__(self, suite: Suite, out: Path, records: Path | str | None, say: Say) -> None:
        self.suite, self.out, self.say = suite, out, say
        self.runs = every_run(suite, out, None if records is None else Path(records))
        self.comparison: Comparison | None = None

    def write(self) -> Comparison | None:
        """Compare, and write compare.csv, .md and .html; None where no run is done, or where the runs can't stand in one table.

        One process at a time, so that of two the later one tells of all that is done.
        """
        with locked(self.out, wait=True):
            return self._write()

    def _write(self) -> Comparison | None:
        done = [run for run in self.runs if finished(run) is not None]
        baseline = (
            self.suite.baseline
            if any(run.row.label == self.suite.baseline for run in done)
            else None
        )
        try:
            self.comparison = (
                compare([run.source for run in done], baseline=baseline) if done else None
            )
        except UserError as error:
            self.say(f"no table: {error.problems[0]}")
            return None
        if self.comparison is not None:
            for name in TABLES:
                write_table(
                    self.comparison, self.out / name, f"Suite {self.suite.name}", self.suite.about
                )
        return self.comparison
