"""The demonstration: the suite ``demo`` and its report.

The suite trains both labelled-only baselines and CML on phantoms, for the same number of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from crossview.core.errors import Problem, UserError
from crossview.evaluation.compare import Comparison, compare
from crossview.reporting.comparison import write_table
from crossview.reporting.page import write_report
from crossview.runs.bench.bench import StoppedError, run_one
from crossview.runs.bench.runs import Selection, SuiteRun
from crossview.runs.bench.suite import load_suite
from crossview.runs.lock import LockedError
from crossview.runs.run import Run


@dataclass(frozen=True)
class Demo:
    """The results of the demonstration."""

    runs: tuple[Run, ...]
    comparison: Comparison
    report: Path
    csv: Path


def demo(
    out: Path | str = "runs/demo",
    *,
    seeds: int = 1,
    steps: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Demo:
    """Train and test labelled-only training, CML's labelled stage alone, and CML on phantoms.

    Every run takes the same number of steps. Finished runs of the same recipe are kept,
    interrupted ones are resumed.

    Args:
        out: Folder for the runs and the report.
        seeds: Number of seeds, counted from the suite's first seed.
        steps: Steps per run; by default those of the suite.
        say: Called with a line of text when a run begins.

    Returns:
        The runs, their comparison, and the files of the report and the table.

    Raises:
        UserError: If a folder in ``out`` cannot be used, for example because it contains a run of
            another recipe.
        LockedError: If another process works in a run folder.
    """
    folder, shipped = Path(out), load_suite("demo")
    first = shipped.seeds[0]
    suite = shipped.model_copy(
        update={
            "seeds": tuple(range(first, first + seeds)),
            "total_steps": steps or shipped.total_steps,
        }
    )
    tag = "" if steps is None else f"-{steps}steps"
    every_run = Selection(suite, folder).every_run
    runs = [replace(run, path=folder / f"{run.path.name}{tag}") for run in every_run]
    for number, run in enumerate(runs, start=1):
        say(f"[{number}/{len(runs)}] {run.name}, {suite.total_steps} steps")
        _run(run)
    comparison = compare([run.path for run in runs], baseline=suite.baseline)
    shown = next(run.path for run in runs if run.row.label == "cml")
    report = write_report(
        shown, comparison=comparison, comparison_title="Phantoms", path=folder / "report.html"
    )
    csv = write_table(comparison, folder / "compare.csv")
    return Demo(tuple(Run(run.path) for run in runs), comparison, report, csv)


def _run(run: SuiteRun) -> None:
    """Train and test a run. Raise UserError with a fix if its folder cannot be used."""
    try:
        run_one(run, None)
    except StoppedError as stopped:
        raise SystemExit(128 + stopped.signal) from None
    except UserError as error:
        if isinstance(error, LockedError) or not run.path.exists():
            raise
        what = "the demonstration can't continue with this run"
        fix = "delete the folder, or choose another --out"
        raise UserError([*error.problems, Problem(what, str(run.path), fix=fix)]) from None
