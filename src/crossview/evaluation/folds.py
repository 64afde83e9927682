"""Folds of a cross-validation as one run: every labelled case scored once, by the run of its fold.

The pooled run takes part in a comparison like any other, so seeds, intervals over patients and
differences are computed as for a fixed test set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from crossview.core.errors import Problem, raise_all
from crossview.core.text import first_few, listed
from crossview.data.sources.folds import NOTE
from crossview.evaluation.finished import FinishedRun

MUST_AGREE: dict[str, Callable[[FinishedRun], Any]] = {
    "selection": lambda run: (run.selection, run.checkpoint),
    "unit of distances": lambda run: run.unit,
    "classes": lambda run: run.class_names,
    "steps": lambda run: run.steps,
}
"""What the folds of one run must have in common, besides the recipe."""


def pooled(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Return the runs, those of the same recipe and seed on different folds as one.

    A pooled run stands where its first fold stood. Raises UserError, with every problem, for folds
    that are missing or given twice, or that do not belong together.
    """
    groups: dict[Hashable, list[FinishedRun]] = {}
    for place, run in enumerate(runs):
        groups.setdefault(_kind(run) if run.fold else place, []).append(run)
    raise_all([problem for group in groups.values() for problem in _problems(group)])
    return [_pool(group) if group[0].fold else group[0] for group in groups.values()]


def complete(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Return the runs that can be pooled now: those of no fold, and those of complete folds."""
    there = Counter(_kind(run) for run in runs)
    return [run for run in runs if not run.fold or there[_kind(run)] == run.fold[1]]


def _kind(run: FinishedRun) -> Hashable:
    """Return what the folds of one run share."""
    return (
        run.method,
        run.setting,
        run.protocol,
        run.seed,
        run.fold[1:],
        tuple(sorted((key, repr(value)) for key, value in run.identity.items())),
    )


def _problems(folds: Sequence[FinishedRun]) -> list[Problem]:
    """Return why the folds of one run cannot be pooled."""
    if not folds[0].fold:
        return []
    problems, first, of = [], folds[0], folds[0].fold[1]
    numbers = sorted(run.fold[0] for run in folds)
    where = f"{first.method}, seed {first.seed}: {first.path}"
    if missing := [str(each) for each in range(1, of + 1) if each not in numbers]:
        what, fix = "folds are missing", "train and evaluate them, and give all folds"
        problems.append(Problem(what, where, f"no fold {listed(missing)} of {of}", fix=fix))
    if twice := sorted({str(each) for each in numbers if numbers.count(each) > 1}):
        what, fix = "a fold is given more than once", "give only one of them"
        problems.append(Problem(what, where, f"fold {listed(twice)}", fix=fix))
    for name, trait in MUST_AGREE.items():
        if len({repr(trait(run)) for run in folds}) > 1:
            found = "; ".join(f"fold {run.fold[0]}: {trait(run)}" for run in folds)
            problems.append(Problem(f"the folds differ in their {name}", where, found))
    cases = Counter(case for run in folds for case in run.cases)
    if again := [case for case, number in cases.items() if number > 1 and not twice]:
        what, fix = "cases are in several folds", "train all folds on the same data"
        problems.append(Problem(what, where, first_few(again), "each case once", fix))
    return problems


def _pool(folds: Sequence[FinishedRun]) -> FinishedRun:
    """Return the folds of one run as a run. Its times are those of one fold, the mean."""
    folds = sorted(folds, key=lambda run: run.fold)
    cases = [case for run in folds for case in run.cases]
    order = sorted(range(len(cases)), key=cases.__getitem__)
    patients = [patient for run in folds for patient in run.patients]
    of = len(folds)
    kinds = dict.fromkeys(kind for run in folds for kind in run.empty)
    every = [run.training_cases for run in folds]
    return replace(
        folds[0],
        fold=(0, of),
        seconds=float(np.mean([run.seconds for run in folds])),
        scoring_seconds=float(np.mean([run.scoring_seconds for run in folds])),
        cases=tuple(cases[index] for index in order),
        patients=tuple(patients[index] for index in order),
        values={
            metric: np.concatenate([run.values[metric] for run in folds])[order]
            for metric in folds[0].values
        },
        empty={kind: sum(run.empty.get(kind, 0) for run in folds) for kind in kinds},
        partial=any(run.partial for run in folds),
        notes=(_note(folds), *_notes(folds)),
        labelled=tuple(case for run in folds for case in run.labelled),
        training_cases="+".join(every) if all(every) else "",
        stages=_stages(folds),
    )


def _stages(folds: Sequence[FinishedRun]) -> str:
    """Return the stages that the folds had, "" if each had all of its method."""
    found = [run.stages for run in folds if run.stages]
    if not found or len(found) == len(folds):
        return folds[0].stages
    return f"{found[0]} in some folds"


def _note(folds: Sequence[FinishedRun]) -> str:
    cases = sum(len(run.cases) for run in folds)
    return (
        f"Cross-validation: {len(folds)} runs per seed, each tested on another fold of the "
        f"labelled cases. The scores of all {cases} cases are pooled. Each run had fewer labels "
        "than a run on all of them has."
    )


def _notes(folds: Sequence[FinishedRun]) -> list[str]:
    """Return the notes of the folds, those of one fold with its number."""
    found = []
    every = dict.fromkeys(note for run in folds for note in run.notes if note != NOTE)
    for note in every:
        having = [f"fold {run.fold[0]}" for run in folds if note in run.notes]
        found.append(note if len(having) == len(folds) else f"{', '.join(having)}: {note}")
    return found
