"""``crossview bench``: train the runs of a suite in order, and update their table after each one.

Finished runs are skipped, interrupted runs are resumed, and runs made with a different recipe are
refused. A run with a record counts as finished, wherever it was trained. Seeds are outermost, so a
suite that stops early has compared all its methods on the seeds so far.
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
from crossview.core.run_folder import read_journal
from crossview.core.text import duration
from crossview.evaluation.compare import Comparison, compare
from crossview.evaluation.finished import MEMBERSHIP, FinishedRun, membership, read_run
from crossview.reporting.comparison import write_table
from crossview.runs.bench.record import record, write_record
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
from crossview.runs.run import Run, check_free
from crossview.runs.train import train

TABLES = ("compare.csv", "compare.md", "compare.html")


MADE_FIRST = (LOCK, "environment.json", "checkpoints", "pictures", "recipe.toml")
"""Names in a run folder that is still being made."""


Say = Callable[[str], None]


class StoppedError(Exception):
    """Raised after a signal ended the training of a run and everything is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.signal = number


@dataclass(frozen=True)
class Bench:
    """The result of running a suite.

    Attributes:
        runs: The runs that were asked for.
        failed: The runs that failed, each with its error.
        comparison: The table of all finished runs of the suite; None if there are none.
        stopped: The signal that ended the suite, else 0.
        elsewhere: The runs that were skipped because another process works on them.
    """

    runs: tuple[Planned, ...]
    failed: tuple[tuple[Planned, UserError], ...]
    comparison: Comparison | None
    stopped: int = 0
    elsewhere: tuple[Planned, ...] = ()

    @property
    def problems(self) -> list[Problem]:
        """The problems of failed runs; one of several runs appears once, with their folders."""
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
    """Train and test the runs of a suite, and write their table into ``out``.

    The runs are in ``out``/<setting>/<row>-seed<k>. A run that fails with a UserError does not stop
    the others.

    Args:
        suite: A shipped suite, a TOML file, or a suite.
        out: The folder of the runs and of their table.
        data: The folder of the data; None if the source needs none.
        only: Labels of the rows to run. Default: all.
        settings: Names of the settings to run. Default: all.
        seeds: Number of seeds to run, from the first. Default: all.
        records: A folder that gets a record of each run. A run with a record counts as finished
            and needs no run folder.
        say: Called with a line per run.

    Returns:
        The runs, the failures and the comparison so far.

    Raises:
        UserError: Before anything is written, if the suite cannot be run, or existing runs were
            made with a different recipe.
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
                came = (
                    f"Dice {100 * found.mean('dice'):.2f} %, "
                    f"{duration(found.seconds + found.scoring_seconds)}{clock.left()}"
                )
                came += ", done by another process" if by_other else ""
            except LockedError as error:
                clock.closed.add(run)
                elsewhere.append(run)
                came = f"skipped, another process works on it ({error.problems[0].found})"
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
    """Return a line per run that :func:`bench` would do. Write nothing; may raise UserError."""
    suite, out, data, runs = _checked(suite, out, data, only, settings, seeds, records)
    done = sum(finished(run) is not None for run in runs)
    head = (
        f"{suite.name}: {done} of {len(runs)} runs are done, "
        f"protocol {suite.protocol}, baseline {suite.baseline}"
    )
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
    """Return the checked suite, folders and runs. Raise UserError."""
    suite = suite if isinstance(suite, Suite) else load_suite(suite)
    out, data = Path(out), None if data is None else Path(data)
    kept = None if records is None else Path(records)
    runs = chosen_runs(suite, out, only=only, settings=settings, seeds=seeds, records=kept)
    if data is not None and not data.exists():
        raise UserError(Problem("the data folder does not exist", str(data)))
    check_recipes(runs)
    check_unchanged(runs)
    return suite, out, data, runs


def run_one(run: Planned, data: Path | None) -> FinishedRun:
    """Train and test a run, or continue it.

    Raises UserError, LockedError if another process works on it, and StoppedError if a signal ended
    its training.
    """
    if not (run.path / "recipe.toml").exists():
        _clear_half_made(run.path)
        check_free(run.path, overwrite=False)
    with locked(run.path):
        _, outcome = train(
            run.setting.recipe,
            data,
            run.path,
            overrides=run.sets,
            resume=(run.path / "recipe.toml").exists(),
        )
        remember(run)  # not if train refused: the folder may then have a different recipe
        if outcome.how == "interrupted":
            raise StoppedError(outcome.signal)
        if finished(run) is None:
            evaluate(run.path, data)
        return read_run(run.path, "test")


def finished(run: Planned) -> FinishedRun | None:
    """Return the run if it belongs to its suite, is fully trained and tested on all cases."""
    if membership(run.source) is None:
        return None
    try:
        found = read_run(run.source, "test")
    except UserError:
        return None
    return None if found.partial else found


def remember(run: Planned) -> None:
    """Write bench.json into the run folder: the place in the suite, and the recipe asked for."""
    content = {
        **run.membership,
        "started": Run(run.path).environment.get("started"),
        "asked": run.asked,
    }
    write_text(run.path / MEMBERSHIP, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def keep_record(run: Planned) -> None:
    """Write a finished run's record if records are kept and it has none."""
    if run.record is None or run.record.exists():
        return
    with locked(run.path, wait=True):  # another process may be about to write the same record
        if not run.record.exists():
            write_record(run.record, record(Run(run.path)))


def _clear_half_made(path: Path) -> None:
    """Empty a run folder that a kill left without recipe and checkpoint. May raise LockedError."""
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
    """Return a run's state in words."""
    found = finished(run)
    if found is not None:
        return f"done, Dice {100 * found.mean('dice'):.2f} %"
    if not (run.path / "recipe.toml").exists():
        return "to do"
    rows = list(read_journal(run.path / "journal.jsonl"))
    if any(row["kind"] == "finished" for row in rows):
        return "trained, not tested"
    return f"started, at step {max((row.get('total_step', 0) for row in rows), default=0):,}"


class _Clock:
    """Finished runs, and an estimate of the time left: the mean per row, else over all runs."""

    def __init__(self, runs: Sequence[Planned]) -> None:
        self.runs = runs
        self.done = {run: found for run in runs if (found := finished(run)) is not None}
        self.closed: set[Planned] = set()
        """Runs that this call skips: failed ones, and those that another process works on."""

    def left(self) -> str:
        """Return ", about ... left", or nothing if no run is left."""
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
    """The comparison of all finished runs of a suite, including those of other calls, as files."""

    def __init__(self, suite: Suite, out: Path, records: Path | str | None, say: Say) -> None:
        self.suite, self.out, self.say = suite, out, say
        self.runs = every_run(suite, out, None if records is None else Path(records))
        self.comparison: Comparison | None = None

    def write(self) -> Comparison | None:
        """Compare, and write compare.csv, .md and .html. One process at a time.

        Returns None if no run is finished, or the runs cannot be in one table. With the lock, the
        later of two processes includes all finished runs.
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
