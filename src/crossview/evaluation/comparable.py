"""What can stand in one table: checks of finished runs, and labels that tell their rows apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from crossview.errors import Problem
from crossview.evaluation.bootstrap import mean_of_defined
from crossview.evaluation.finished import FinishedRun

ROUNDING = 1e-9
Runs = Sequence[FinishedRun]
Trait = Callable[[FinishedRun], tuple[Hashable, str]]
"""What must be alike, and how it is told to the user."""


def problems(runs: Runs, rows: Sequence[Runs], mixed: bool) -> list[Problem]:
    """Why these runs, in these rows, can't stand in one table. mixed: other settings, selections, checkpoints and cases are meant."""
    found = [problem for run in runs for problem in _impossible(run)]
    for row in rows:
        found += _twice(row)
    if mixed:
        for row in rows:
            found += _mixtures(row, _SCORED_ON, "evaluate these runs again, on the same cases")
    else:
        fix = "compare like with like; --mixed (mixed=True) shows them beside each other all the same"
        found += [problem for run in runs for problem in _partial(run)]
        found += _mixtures(runs, {**_kinds(runs), **_SCORED_ON}, fix)
    return found


def labels(runs: Runs) -> list[str]:
    """A label of each run's row: its method, and where recipes differ in more than the seed, the keys in which they do."""
    found = []
    for run in runs:
        alike = [other for other in runs if _place(other) == _place(run)]
        keys = differing([other.identity for other in alike])
        found.append(", ".join([run.method, *(f"{key.removeprefix('method.')}={run.identity.get(key)}" for key in keys)]))
    return found


def _place(run: FinishedRun) -> Hashable:
    return run.method, run.setting, run.selection, run.checkpoint


def differing(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that not all of some flat recipes have with the same value, sorted."""
    keys = {key for recipe in recipes for key in recipe}
    return sorted(key for key in keys if any(recipe.get(key) != recipes[0].get(key) for recipe in recipes))


def _kinds(runs: Runs) -> dict[str, Trait]:
    """Settings and policies; of settings with one name, the keys of [data] must agree too."""
    data = [key for key in differing([run.identity for run in runs]) if key.startswith("data.")]

    def setting(run: FinishedRun) -> tuple[Hashable, str]:
        text = ", ".join([run.setting, *(f"{key}={run.identity.get(key)}" for key in data)])
        return text, text

    def selection(run: FinishedRun) -> tuple[Hashable, str]:
        return (run.selection, run.checkpoint), f"{run.selection} (checkpoint {run.checkpoint})"

    return {"setting": setting, "selection policy": selection}


def _cases(run: FinishedRun) -> tuple[Hashable, str]:
    return (run.cases, run.patients), f"{len(run.cases)} cases, {run.cases[0]} to {run.cases[-1]}" if run.cases else "no cases"


_SCORED_ON: dict[str, Trait] = {
    "cases": _cases,
    "classes": lambda run: (run.class_names, ", ".join(run.class_names)),
    "unit of distances": lambda run: (run.unit, run.unit),
}


def _mixtures(runs: Runs, traits: Mapping[str, Trait], fix: str) -> list[Problem]:
    found = []
    for name, trait in traits.items():
        kinds: dict[Hashable, list[FinishedRun]] = {}
        for run in runs:
            kinds.setdefault(trait(run)[0], []).append(run)
        if len(kinds) > 1:
            shown = [f"{trait(kind[0])[1]}: {', '.join(str(run.path) for run in kind)}" for kind in kinds.values()]
            found.append(Problem(f"the runs differ in their {name}", found="; ".join(shown), expected="one", fix=fix))
    return found


def _twice(row: Runs) -> list[Problem]:
    """Runs that would count as two seeds and are one."""
    seeds: dict[int, list[str]] = {}
    for run in row:
        seeds.setdefault(run.seed, []).append(str(run.path))
    return [
        Problem("the same recipe and seed is there more than once", ", ".join(paths), f"seed {seed}", fix="leave one of them out")
        for seed, paths in seeds.items()
        if len(paths) > 1
    ]


def _partial(run: FinishedRun) -> list[Problem]:
    """An evaluation of a part of the split, made for a quick look."""
    if not run.partial:
        return []
    found = f"only the first {len(run.cases)} cases were scored"
    return [Problem("the evaluation is partial", str(run.path), found, "all cases of the split", "crossview evaluate RUN")]


def _impossible(run: FinishedRun) -> list[Problem]:
    """Scores that no masks can have: over the same cases, mean Jaccard J and mean Dice D satisfy D / (2 - D) <= J <= D."""
    dice, jaccard = (mean_of_defined(run.values[metric].T) for metric in ("dice", "jaccard"))
    wrong = (jaccard < dice / (2 - dice) - ROUNDING) | (jaccard > dice + ROUNDING)
    return [
        Problem(
            "no masks can have these scores",
            f"{run.path}, class {run.class_names[index]}",
            f"mean Dice {dice[index]:.4f}, mean Jaccard {jaccard[index]:.4f}",
            f"a Jaccard from {dice[index] / (2 - dice[index]):.4f} to {dice[index]:.4f}",
            "evaluate the run again: its table of cases was changed",
        )
        for index in np.flatnonzero(wrong)
    ]
