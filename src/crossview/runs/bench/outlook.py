"""``crossview bench --dry-run``: the runs of a suite and their state."""

from __future__ import annotations

from crossview.core.busy import worker
from crossview.core.run_folder import RunFolder
from crossview.runs.bench.bench import finished
from crossview.runs.bench.checks import check
from crossview.runs.bench.runs import Selection, SuiteRun


def outlook(selection: Selection) -> list[str]:
    """Return a line per run that :func:`bench` would do. Write nothing; may raise UserError."""
    check(selection)
    suite, runs = selection.suite, selection.runs
    states = [_state(run) for run in runs]
    done = sum(state.startswith("done") for state in states)
    return [
        f"{suite.name}: {done} of {len(runs)} runs are done, "
        f"protocol {suite.protocol}, baseline {suite.baseline}",
        *(
            f"[{number}/{len(runs)}] {run.name}: {state}  ({run.source})"
            for number, (run, state) in enumerate(zip(runs, states, strict=True), start=1)
        ),
    ]


def _state(run: SuiteRun) -> str:
    """Return a run's state in words."""
    found = finished(run)
    if found is not None:
        return f"done, Dice {100 * found.mean('dice'):.2f} %"
    folder = RunFolder(run.path)
    if not folder.exists:
        return "to do"
    journal = folder.journal
    if journal.finished:
        return "trained, not tested"
    at = f"at step {journal.total_step:,}"
    return f"training now, {at}" if worker(run.path) else f"started, {at}"
