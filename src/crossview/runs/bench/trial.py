"""The verb trial: the default method against labelled-only training on a user's own scans.

Both are trained for the same time on folds of the labelled cases, and compared on cases that they
were not trained on. A trial is a suite written for the data: one plan, the same folds and seeds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossview.core.errors import Problem, fail
from crossview.core.files import check_writable, write_text
from crossview.core.progress import Progress
from crossview.core.text import count
from crossview.data import sources
from crossview.data.case import Splits
from crossview.data.sources import folder
from crossview.data.sources.folds import of_fold
from crossview.evaluation.compare import Comparison
from crossview.evaluation.rows import Row
from crossview.evaluation.tables import difference_parts
from crossview.recipe.layers import OWNED_BY_METHOD, STEP_KEYS, layers
from crossview.recipe.planned import resolve_planned
from crossview.recipe.resolve import Recipe
from crossview.runs.bench.bench import StoppedError, finished, run_one, run_selection
from crossview.runs.bench.runs import Selection
from crossview.runs.bench.suite import Suite, parse_suite

FEWEST_PATIENTS = 6
"""Labelled patients below which a trial is not made.

The differences of n patients have one sign by chance with p = 2 / 2^n: 0.06 for five.
"""

SUPERVISED = "supervised"

PACE = "supervised for its pace"

PLAN = "plan.toml"


@dataclass(frozen=True)
class Trial:
    """The outcome of a trial.

    Attributes:
        method: The method that was tried against labelled-only training.
        patients: Number of labelled patients.
        answer: Which to use, in a sentence or two.
        comparison: The table; None if no trial was made, or it was stopped early.
        problems: Problems of runs that failed.
        stopped: The signal that ended it, else 0.
    """

    method: str
    patients: int
    answer: str
    comparison: Comparison | None = None
    problems: tuple[Problem, ...] = ()
    stopped: int = 0


def trial(
    data: Path | str,
    out: Path | str,
    *,
    overrides: Sequence[str] = (),
    folds: int = 3,
    seeds: int = 2,
    steps: int | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Trial:
    """Compare the default method with labelled-only training on a user's scans.

    Both are trained for the same time on folds of the labelled cases, each case is tested by runs
    that were not trained on it, and the difference is taken over the patients. The same call
    resumes a trial that was stopped.

    Args:
        data: The folder of the scans.
        out: The folder of the runs and of their table.
        overrides: Texts "table.key=value", as ``--set`` takes them. ``method.name`` names another
            method to try, and other keys of [method] are that method's.
        folds: Number of folds.
        seeds: Number of seeds, 1, 2 and so on. One seed gives no verdict.
        steps: Steps of a run of the method; by default as planned for the scans.
        progress: Called with (scans read, all scans).
        say: Called with a line per run.

    Returns:
        The answer and the table. With fewer than six labelled patients nothing is trained, and the
        answer says that they can't show a difference.

    Raises:
        UserError: If the scans cannot be trained on, there are more folds than labelled patients,
            or ``out`` contains a trial with another plan.
    """
    data, out = Path(data), Path(out)
    splits = _splits(data, overrides)
    patients = len({case.patient for case in splits.labelled})
    method = str(layers("folder", overrides).tables["method"]["name"])
    if method == SUPERVISED:
        fix = "name a method that uses unlabelled scans, or leave out method.name"
        fail("supervised training cannot be tried against itself", "[method] name", fix=fix)
    if patients < FEWEST_PATIENTS:
        return Trial(method, patients, _unknowable(patients))
    check_writable(out)
    left = {number: of_fold(splits, (number, folds)) for number in range(1, folds + 1)}
    fewest = min(left, key=lambda number: len(left[number].labelled))
    fold = f"data.fold=[{fewest}, {folds}]"  # so that batches fit into every fold
    planned, _ = resolve_planned("folder", [*overrides, fold], data, progress)
    _keep_plan(planned, out)
    say(f"planned: {out / PLAN}")
    suite = _suite(planned, out, folds, seeds, steps)
    return _run(suite, method, patients, data, out, say)


def _splits(data: Path, overrides: Sequence[str]) -> Splits:
    """Return the cases by role, before anything is planned."""
    own = layers("folder", overrides).own.get("data", {})
    chosen = {key: own[key] for key in ("labelled", "validation") if key in own}
    patch, never = (4, 4, 4), {"sampling": "crop", "augmentation": "none"}
    return sources.find_splits(folder.Options(patch=patch, classes=2, **never, **chosen), data)


def _suite(planned: Recipe, out: Path, folds: int, seeds: int, steps: int | None) -> Suite:
    """Return the suite: the method, and labelled-only training for the same time.

    One more run of labelled-only training, over the method's steps, shows its pace.
    """
    tables = planned.tables()
    name, training = planned.method.name, tables["training"]
    keys = set(tables["method"]) - {"name", "variant", *STEP_KEYS}
    own = [f"method.{key}={json.dumps(tables['method'][key])}" for key in sorted(keys)]
    common = [f"training.{key}={json.dumps(training[key])}" for key in OWNED_BY_METHOD]
    return parse_suite(
        {
            "name": "trial",
            "about": f"{name} and labelled-only training with the same time, on folds of the "
            "labelled cases.",
            "protocol": "equal",
            "baseline": SUPERVISED,
            "seeds": list(range(1, seeds + 1)),
            "folds": folds,
            "total_steps": steps or sum(stage.steps for stage in planned.stages),
            "common": common,
            "settings": [{"name": "trial", "recipe": PLAN}],
            "methods": [
                {"label": PACE, "name": SUPERVISED},
                {"label": name, "name": name, "set": own},
                {"label": SUPERVISED, "name": SUPERVISED, "time_of": name},
            ],
        },
        out,
    )


def _keep_plan(planned: Recipe, out: Path) -> None:
    """Write the plan for the runs. Raise UserError if the folder has another one."""
    whole = planned.data.model_copy(update={"fold": ()})
    file, text = out / PLAN, replace(planned, data=whole).toml()
    if file.exists() and file.read_text(encoding="utf-8") != text:
        what = "this folder has a trial with another plan"
        fix = "choose another --out, or delete it to begin anew"
        fail(what, file, expected="the plan of these scans and options", fix=fix)
    write_text(file, text)


def _run(
    suite: Suite, method: str, patients: int, data: Path, out: Path, say: Callable[[str], None]
) -> Trial:
    pace = Selection(suite, out, data, only=[PACE]).runs[0]
    selection = Selection(suite, out, data, only=[method, SUPERVISED])
    if finished(pace) is None:
        say(f"measuring the pace of labelled-only training: {pace.name}")
        try:
            run_one(pace, data)
        except StoppedError as stop:
            return Trial(method, patients, UNFINISHED, stopped=stop.signal)
    result = run_selection(selection, say)
    whole = not result.stopped and not result.problems and not result.elsewhere
    rows = _rows(result.comparison, method) if whole else []
    answer = _answer(rows, method, patients) if rows else UNFINISHED
    return Trial(
        method, patients, answer, result.comparison, tuple(result.problems), result.stopped
    )


UNFINISHED = "no answer yet: runs are left; the same command goes on with them"


def _rows(comparison: Comparison | None, method: str) -> list[Row]:
    """Return the rows of the method: several if only some seeds used the unlabelled scans."""
    rows = () if comparison is None else comparison.rows
    return [row for row in rows if row.runs[0].method == method]


def _unknowable(patients: int) -> str:
    return (
        f"can't know: {count(patients, 'labelled patient')} cannot show which is better, whatever "
        f"the scores (at least {FEWEST_PATIENTS} are needed). Nothing was trained. Label more "
        "scans, and until then look at predictions of both."
    )


def _answer(rows: Sequence[Row], method: str, patients: int) -> str:
    """Return which method to use, with the difference and its interval."""
    if any(run.stages for row in rows for run in row.runs):
        return (
            f"can't know: in some runs of {method}, or in all, the labelled stage used all steps, "
            "so the unlabelled scans were not used. Try again with more --steps and another --out."
        )
    row = rows[0]
    if row.difference is None:
        return "can't know: the runs have no Dice to compare"
    difference, span, *_ = difference_parts(row)
    measured = (
        f"Dice {difference} {span} points against labelled-only training in the same time, over "
        f"{count(patients, 'labelled patient')}"
    )
    use = {
        "better": f"use {method}: {measured}.",
        "worse": f"use supervised (--set method.name=supervised): {method} does harm here, "
        f"{measured}.",
        "one seed": f"can't know from one seed: {method} has {measured}, without the chance in the "
        "seeds. Use --seeds 2 or more.",
    }
    other = f"no difference shown: {method} has {measured}. Either will do; more labels may tell."
    return use.get(row.verdict, other)
