"""Checks of a suite's runs before one is trained: the protocol, and the runs that exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossview.core import plugins
from crossview.core.errors import Problem, UserError, fail, raise_all
from crossview.core.files import check_writable
from crossview.core.text import listed
from crossview.data.sources import DataOptions, find_splits
from crossview.data.sources.folds import of_fold
from crossview.evaluation.comparable import differing
from crossview.evaluation.finished import membership, read_run
from crossview.evaluation.record import run_or_record
from crossview.recipe.layers import OWNED_BY_METHOD, changes, parse_set
from crossview.runs.bench.equal_time import finished_of
from crossview.runs.bench.runs import Selection, SuiteRun
from crossview.runs.run import Run
from crossview.training.options import current

IDLE = {
    "constant": ("decay_after", "decay_every", "decay_factor", "decay_power"),
    "step": ("decay_power",),
    "polynomial": ("decay_every", "decay_factor"),
}
"""Keys of [training] that a schedule ignores."""

MOST_LISTED = 3
"""Runs named in a problem that many runs share."""


def check(selection: Selection) -> None:
    """Raise UserError if the selection cannot be run as the suite asks. Nothing is written."""
    runs = selection.runs
    check_writable(selection.out)
    if selection.data is not None and not selection.data.exists():
        fail("the data folder does not exist", selection.data)
    check_recipes(runs)
    check_times(runs)
    check_folds(runs, selection.data)
    check_unchanged(runs)


def check_recipes(runs: Sequence[SuiteRun]) -> None:
    """Raise one UserError unless every recipe is valid and follows the suite's protocol.

    Under protocol "equal", the rows of a setting must agree except in the keys that a row sets.
    """
    problems: dict[Problem, None] = {}
    first_seed: dict[tuple[str, str], SuiteRun] = {}
    equal: dict[str, list[SuiteRun]] = {}
    for run in runs:
        first_seed.setdefault((run.setting.name, run.row.label), run)
    for run in first_seed.values():
        try:
            _ = run.recipe
        except UserError as error:
            for problem in error.problems:
                where = ": ".join(filter(None, [f"row '{run.row.label}'", problem.where]))
                problems[replace(problem, where=where)] = None
        if run.suite.protocol == "equal" and not run.row.reference:
            equal.setdefault(run.setting.name, []).append(run)
    raise_all(list(problems))
    for setting, rows in equal.items():
        raise_all(_unequal(setting, rows))


def check_times(runs: Sequence[SuiteRun]) -> None:
    """Raise UserError for a row with ``time_of`` whose steps cannot become known in these runs."""
    asked = {(run.setting.name, run.row.label) for run in runs}
    problems: dict[Problem, None] = {}
    for run in runs:
        rows = run.timed_by if run.steps_in_time is None else None
        for row in rows or ():
            if (run.setting.name, row.label) not in asked and not finished_of(run.sources_of(row)):
                what = f"the steps of '{run.row.label}' depend on a row that is not run"
                found, fix = f"no run of '{row.label}'", f"add --only '{row.label}'"
                problems[Problem(what, run.setting.name, found, fix=fix)] = None
    raise_all(list(problems))


def require_time(run: SuiteRun) -> None:
    """Raise UserError if the steps of a run with ``time_of`` are still unknown."""
    if run.timed_by is not None and run.steps_in_time is None:
        what = f"the training time of '{run.row.time_of}' is not known"
        fail(what, found="a run of it failed", fix="correct it and run the suite again")


def check_folds(runs: Sequence[SuiteRun], data: Path | None) -> None:
    """Raise UserError unless the labelled cases can be dealt to the suite's folds.

    All rows of a setting must be tested on the same cases, so their folds must be alike. Runs with
    a record need no data.
    """
    problems: dict[Problem, None] = {}
    dealt: dict[str, dict[Dealt, str]] = {}
    of_data: dict[tuple[DataOptions, int], Dealt] = {}
    for run in runs:
        if not run.fold or run.source != run.path:
            continue
        options, batch = run.recipe.data, run.recipe.training.labelled_batch
        key = options.model_copy(update={"fold": ()}), batch
        try:
            if key not in of_data:
                of_data[key] = _tested(*key, data, run.suite.fold_numbers)
            dealt.setdefault(run.setting.name, {}).setdefault(of_data[key], run.row.label)
        except UserError as error:
            problems |= dict.fromkeys(error.problems)
    for setting, of_rows in dealt.items():
        if len(of_rows) > 1:
            what = "the rows would be tested on different folds: their labelled cases differ"
            fix = "leave one out with --only, or give both the same [data]"
            problems[Problem(what, setting, listed(list(of_rows.values())), fix=fix)] = None
    raise_all(list(problems))


Dealt = tuple[tuple[str, ...], ...]
"""The test cases of each fold."""


def _tested(options: DataOptions, batch: int, data: Path | None, folds: Sequence[int]) -> Dealt:
    """Return the test cases of each fold. Raise UserError if there are too few for the folds."""
    splits = find_splits(options, data)
    of_folds = [of_fold(splits, (number, len(folds))) for number in folds]
    left = min(len(each.labelled) for each in of_folds)
    if left < batch and len(options.patch) == 3:  # a case of slices is many items
        fail(
            "a fold leaves fewer labelled cases than a batch needs",
            "training.labelled_batch",
            found=f"{left} cases",
            expected=f"at least {batch}",
            fix=f"set training.labelled_batch to {left} or less, or use more folds",
        )
    return tuple(tuple(case.id for case in each.test) for each in of_folds)


def _unequal(setting: str, runs: Sequence[SuiteRun]) -> list[Problem]:
    """Return a problem per key in which rows differ without setting it."""
    problems = []
    keys_of = {run.row.label: _must_agree(run) for run in runs}
    for key in differing(list(keys_of.values())):
        values = {label: keys[key] for label, keys in keys_of.items() if key in keys}
        if len(set(map(repr, values.values()))) > 1:
            found = ", ".join(f"{label} {value}" for label, value in values.items())
            fix = (
                f"put {key}=... into `common`, or into the `set` of each row that differs, "
                "which the table then lists"
            )
            what = f"the protocol is equal but the rows differ in '{key}'"
            problems.append(Problem(what, setting, found, fix=fix))
    return problems


def _must_agree(run: SuiteRun) -> Mapping[str, Any]:
    """Return the keys that must agree under protocol "equal": not set by the row, and in use."""
    tables, training = run.recipe.tables(), run.recipe.training
    idle = {
        *IDLE[training.schedule],
        *(() if run.recipe.uses_unlabelled else ("unlabelled_batch",)),
    }
    tables["training"] = {
        key: value
        for key, value in tables["training"].items()
        if key in OWNED_BY_METHOD and key not in idle
    }
    own = {parse_set(text)[:2] for text in run.row.set}
    return {
        f"{table}.{key}": value
        for table in ("data", "network", "training", "inference")
        for key, value in tables[table].items()
        if (table, key) not in own
    }


def check_unchanged(runs: Sequence[SuiteRun]) -> None:
    """Raise UserError if existing runs were made with a different recipe or different plugin code.

    The error lists every key that differs, and all runs of different code. If a run has a record,
    the record must be complete and of this run; its folder is not checked.
    """
    problems: list[Problem] = []
    changed: dict[tuple[str, str, str], list[Path]] = {}
    other_code: dict[tuple[str, str], list[Path]] = {}
    for run in runs:
        if unusable := _unusable_record(run):
            problems += unusable
            continue
        for change in _changed(run):
            changed.setdefault(change, []).append(run.source)
        code = plugins.changed(run.row.name, run_or_record(run.source).environment)
        if code and (run.source != run.path or Run(run.path).trained):
            other_code.setdefault((run.row.name, code), []).append(run.source)
    for (key, now, then), paths in changed.items():
        what = f"'{key}' has changed in the suite since these runs were trained"
        fix = (
            "restore the suite, choose another --out, "
            "or delete these folders (or records) to train the runs again"
        )
        problems.append(Problem(what, shortened(paths), now, f"{then}, as in the run", fix))
    for (name, code), paths in other_code.items():
        what = f"the code of {name} has changed since these runs were trained"
        fix = "choose another --out (and --records), or delete these runs to train them again"
        problems.append(Problem(what, ", ".join(map(str, paths)), code, "the same code", fix))
    raise_all(problems)


def shortened(paths: Sequence[Path]) -> str:
    """Return the first MOST_LISTED paths, and the number of the others."""
    return listed(list(map(str, paths)), MOST_LISTED)


def _unusable_record(run: SuiteRun) -> list[Problem]:
    """Return the problems of a record that cannot be used for the run."""
    if run.source == run.path:
        return []
    try:
        found, member = read_run(run.source, "test"), membership(run.source)
    except UserError as error:
        return list(error.problems)
    fix = "move it away, or choose another --records"
    if member is None:
        return [Problem("the record's run is not from a suite", str(run.source), fix=fix)]
    theirs = member.setting, member.label, found.seed
    ours = run.setting.name, run.row.label, run.seed
    if theirs != ours:
        what = "the record is of a different run"
        return [Problem(what, str(run.source), str(theirs), str(ours), fix)]
    if found.partial:
        return [Problem("the record is of a partial evaluation", str(run.source), fix=fix)]
    return []


def _changed(run: SuiteRun) -> list[tuple[str, str, str]]:
    """Return (key, value now, value then) per key in which an existing run is not the suite's."""
    then = membership(run.source)
    if then is None:
        return []  # no run, or one whose recipe is compared when it is resumed
    stored = run_or_record(run.source).tables
    found = [
        (key, repr(now), repr(old))
        for key, (old, now) in changes(current(stored), run.recipe.tables()).items()
    ]
    if then.protocol != run.suite.protocol:
        found.append(("protocol", run.suite.protocol, then.protocol))
    return found
