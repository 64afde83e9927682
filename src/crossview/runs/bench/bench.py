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
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from crossview.core.busy import is_lock
from crossview.core.errors import STOPS, Problem, Terminated, UserError
from crossview.core.files import write_text
from crossview.core.run_folder import ENVIRONMENT, MEMBERSHIP, RECIPE, RunFolder
from crossview.core.text import duration
from crossview.evaluation.compare import Comparison, compare
from crossview.evaluation.finished import FinishedRun, membership, read_run
from crossview.evaluation.folds import complete
from crossview.evaluation.record import make_record, write_record
from crossview.reporting.comparison import write_table
from crossview.reporting.page import write_report
from crossview.runs.bench.checks import check, require_time, shortened
from crossview.runs.bench.runs import Selection, SuiteRun
from crossview.runs.bench.suite import Suite, load_suite
from crossview.runs.evaluate import evaluate
from crossview.runs.lock import LockedError, locked
from crossview.runs.run import check_free
from crossview.runs.train import train

TABLES = ("compare.csv", "compare.md", "compare.html")

MADE_FIRST = (ENVIRONMENT, "checkpoints", "pictures", RECIPE)
"""Names in a run folder that is still being made, besides its lock."""

Say = Callable[[str], None]


class StoppedError(Exception):
    """Raised after a signal ended the training of a run and everything is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.signal = number


@dataclass
class Bench:
    """The runs of one call, and what became of them.

    Attributes:
        runs: The runs that were asked for.
        done: The finished runs, with their scores.
        failed: The runs that failed, each with its error.
        elsewhere: The runs that were skipped because another process works on them.
        comparison: The table of all finished runs of the suite; None if there are none.
        stopped: The signal that ended the suite, else 0.
    """

    runs: Sequence[SuiteRun]
    done: dict[SuiteRun, FinishedRun] = field(default_factory=dict)
    failed: dict[SuiteRun, UserError] = field(default_factory=dict)
    elsewhere: list[SuiteRun] = field(default_factory=list)
    comparison: Comparison | None = None
    stopped: int = 0

    @property
    def problems(self) -> list[Problem]:
        """Problems of failed runs. One that several runs share appears once, with their folders."""
        shared: dict[Problem, list[Path]] = {}
        for run, error in self.failed.items():
            for problem in error.problems:
                shared.setdefault(problem, []).append(run.path)
        return [
            replace(problem, where=": ".join(filter(None, [shortened(paths), problem.where])))
            for problem, paths in shared.items()
        ]

    @property
    def left(self) -> list[SuiteRun]:
        """The runs that are still to do."""
        closed = {*self.done, *self.failed, *self.elsewhere}
        return [run for run in self.runs if run not in closed]

    def seconds_left(self) -> float:
        """Return an estimate for the runs left: the mean time per row, else over all runs."""
        times: dict[tuple[str, str], list[float]] = {}
        for run, found in self.done.items():
            times.setdefault((run.setting.name, run.row.label), []).append(_seconds(found))
        every = [seconds for of_row in times.values() for seconds in of_row]
        alike = [times.get((run.setting.name, run.row.label), every) for run in self.left]
        return sum(sum(of_row) / len(of_row) for of_row in alike)


def bench(
    suite: str | Path | Suite,
    out: Path | str,
    data: Path | str | None = None,
    *,
    only: Sequence[str] = (),
    settings: Sequence[str] = (),
    seeds: int | None = None,
    folds: int | None = None,
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
        folds: Train every run once per fold of the labelled cases and test it on that fold, so
            that each labelled case is tested by a run that was not trained on it. Default: as the
            suite says.
        records: A folder that gets a record of each run. A run with a record counts as finished
            and needs no run folder.
        say: Called with a line per run.

    Returns:
        The runs, the failures and the comparison so far.

    Raises:
        UserError: Before anything is written, if the suite cannot be run, or existing runs were
            made with a different recipe.
    """
    return run_selection(
        Selection(
            load_suite(suite).with_folds(folds),
            Path(out),
            None if data is None else Path(data),
            only,
            settings,
            seeds,
            None if records is None else Path(records),
        ),
        say,
    )


def run_selection(selection: Selection, say: Say = lambda _: None) -> Bench:
    """Train and test the runs of a selection; see :func:`bench`."""
    check(selection)
    runs = selection.runs
    result = Bench(runs, {run: found for run in runs if (found := finished(run)) is not None})
    for run in result.done:
        keep_record(run)
        _renew_report(run)
    say(f"{selection.suite.name}: {len(result.done)} of {len(runs)} runs are done")
    try:
        for run in result.left:
            outcome = _do(run, selection.data, result)
            say(f"[{runs.index(run) + 1}/{len(runs)}] {run.name}: {outcome}")
            result.comparison = _write_table(selection, say) or result.comparison
    except StoppedError as stop:
        result.stopped = stop.signal
    except STOPS as stop:
        result.stopped = int(signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
    result.comparison = result.comparison or _write_table(selection, say)
    return result


def _do(run: SuiteRun, data: Path | None, result: Bench) -> str:
    """Train and test a run and add it to the result. Return what became of it in words."""
    by = ", done by another process" if finished(run) is not None else ""
    try:
        found = run_one(run, data)
        keep_record(run)
    except LockedError as error:
        result.elsewhere.append(run)
        return f"skipped, another process works on it ({error.problems[0].found})"
    except UserError as error:
        result.failed[run] = error
        return f"failed: {error.problems[0].what}"
    result.done[run] = found
    left = f", about {duration(result.seconds_left())} left" if result.left else ""
    return f"Dice {100 * found.mean('dice'):.2f} %, {duration(_seconds(found))}{left}{by}"


def _seconds(run: FinishedRun) -> float:
    return run.seconds + run.scoring_seconds


def _write_table(selection: Selection, say: Say) -> Comparison | None:
    """Compare all finished runs of the suite, and write compare.csv, .md and .html.

    Runs of other calls are included, and folds once all of a row and seed are finished. Returns
    None if there are none, or the runs cannot be in one table. One process writes at a time, so
    the later of two includes all finished runs.
    """
    suite, out = selection.suite, selection.out
    with locked(out, wait=True):
        found = {run: result for run in selection.every_run if (result := finished(run))}
        whole = {result.path for result in complete(list(found.values()))}
        done = [run for run, result in found.items() if result.path in whole]
        if not done:
            return None
        labels = [run.row.label for run in done]
        baseline = suite.baseline if suite.baseline in labels else None
        try:
            comparison = compare([run.source for run in done], baseline=baseline)
        except UserError as error:
            say(f"no table: {error.problems[0]}")
            return None
        for name in TABLES:
            write_table(comparison, out / name, f"Suite {suite.name}", suite.about)
    return comparison


def run_one(run: SuiteRun, data: Path | None) -> FinishedRun:
    """Train and test a run, or continue it.

    Raises UserError, LockedError if another process works on it, and StoppedError if a signal ended
    its training.
    """
    require_time(run)
    if not RunFolder(run.path).exists:
        _clear_half_made(run.path)
        check_free(run.path, overwrite=False)
    with locked(run.path):
        resume = RunFolder(run.path).exists
        _, outcome = train(run.recipe.tables(), data, run.path, resume=resume)
        remember(run)  # not if train refused: the folder may then have a different recipe
        if outcome.how == "interrupted":
            raise StoppedError(outcome.signal)
        if finished(run) is None:
            evaluate(run.path, data)
        return read_run(run.path, "test")


def finished(run: SuiteRun) -> FinishedRun | None:
    """Return the run if it belongs to its suite, is fully trained and tested on all cases."""
    if membership(run.source) is None:
        return None
    try:
        found = read_run(run.source, "test")
    except UserError:
        return None
    return None if found.partial else found


def remember(run: SuiteRun) -> None:
    """Write bench.json into the run folder: its place in the suite.

    "started" marks the training that it is of: a folder that is trained anew is of no suite.
    """
    content = {**asdict(run.membership), "started": RunFolder(run.path).environment.get("started")}
    write_text(run.path / MEMBERSHIP, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def keep_record(run: SuiteRun) -> None:
    """Write a finished run's record if records are kept and it has none."""
    if run.record is None or run.record.exists():
        return
    with locked(run.path, wait=True):  # another process may be about to write the same record
        if not run.record.exists():
            write_record(run.record, make_record(RunFolder(run.path)))


def _renew_report(run: SuiteRun) -> None:
    """Write the report of a run that a kill ended between its scores and its report."""
    if RunFolder(run.path).report_is_behind:
        with suppress(LockedError), locked(run.path):  # its process is about to write it
            write_report(run.path)


def _clear_half_made(path: Path) -> None:
    """Empty a run folder that a kill left without recipe and checkpoint. May raise LockedError."""
    if not path.is_dir() or any((path / "checkpoints").glob("*")):
        return
    half_made = [entry for entry in path.iterdir() if not is_lock(entry.name)]
    if all(entry.name.removesuffix(".part") in MADE_FIRST for entry in half_made):
        with locked(path):
            for entry in half_made:
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)
