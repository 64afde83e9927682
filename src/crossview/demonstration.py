"""The demonstration: the suite ``demo`` (phantoms, both labelled-only baselines and CML with the same steps) with a report of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from crossview.errors import Problem, UserError
from crossview.evaluation.compare import Comparison, compare
from crossview.folder import Run
from crossview.lock import LockedError
from crossview.reporting.compared import write_demo
from crossview.runner import StoppedError, run_one
from crossview.suite import load_suite
from crossview.suite_runs import Planned, every_run


@dataclass(frozen=True)
class Demo:
    """What the demonstration left behind."""

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
    """Train and test labelled-only, CML's labelled stage alone, and CML on phantoms, each with the same number of steps.

    steps: of each run; by default the suite's. say: is told which run begins. Runs of the same recipe that are there
    already are kept, or gone on with.
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
    runs = [replace(run, path=folder / f"{run.path.name}{tag}") for run in every_run(suite, folder)]
    for number, run in enumerate(runs, start=1):
        say(f"[{number}/{len(runs)}] {run.name}, {suite.total_steps} steps")
        _run(run)
    comparison = compare([run.path for run in runs], baseline=suite.baseline)
    shown = next(run.path for run in runs if run.row.label == "cml")
    report, csv = write_demo(folder, comparison, shown=shown)
    return Demo(tuple(Run(run.path) for run in runs), comparison, report, csv)


def _run(run: Planned) -> None:
    """Train and test a run. Raises UserError that says what to do with one that is in the way."""
    try:
        run_one(run, None)
    except StoppedError as stopped:
        raise SystemExit(128 + stopped.signal) from None
    except LockedError:
        raise
    except UserError as error:
        if not run.path.exists():
            raise
        fix = "delete the folder, or choose another --out"
        raise UserError(
            [
                *error.problems,
                Problem("the demonstration can't go on with this run", str(run.path), fix=fix),
            ]
        ) from None
