"""Checks of which runs can share a table, and labels that tell their rows apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossview.core.errors import Problem
from crossview.core.run_folder import RunFolder
from crossview.evaluation.bootstrap import mean_of_defined
from crossview.evaluation.finished import FinishedRun

ROUNDING = 2e-6
"""Effect that the six decimals of a record can have on the relation of Jaccard to Dice."""


Runs = Sequence[FinishedRun]


Trait = Callable[[FinishedRun], tuple[Hashable, str]]
"""Value that must agree, or None if a run does not record it, and its text for the user."""


@dataclass(frozen=True)
class Mixture:
    """Runs that differ in what must agree; ``kinds`` holds them by the text of their kind."""

    what: str
    kinds: Mapping[str, Runs]

    def problem(self, fix: str) -> Problem:
        shown = [
            f"{kind}: {', '.join(str(run.path) for run in runs)}"
            for kind, runs in self.kinds.items()
        ]
        return Problem(self.what, found="; ".join(shown), expected="the same for all", fix=fix)

    def note(self) -> str:
        shown = [
            f"{kind} ({', '.join(dict.fromkeys(run.method for run in runs))})"
            for kind, runs in self.kinds.items()
        ]
        return f"Mixed in one table, as requested: {self.what}: {'; '.join(shown)}."


def problems(runs: Runs, rows: Sequence[Runs], mixed: bool) -> list[Problem]:
    """Return the reasons why these runs, in these rows, cannot share a table.

    mixed: allow partial evaluations and what :func:`mixtures` finds between rows.
    """
    found = [problem for run in runs for problem in _impossible(run)]
    for row in rows:
        found += _twice(row)
    if mixed:
        fix = "evaluate these runs again on the same cases"
        return found + [
            mixture.problem(fix)
            for row in rows
            for mixture in _mixtures(row, _SCORED_AS, "the runs")
        ]
    fix = "compare runs that agree, or show these in one table with --mixed (mixed=True)"
    found += [problem for run in runs for problem in _partial(run)]
    return found + [mixture.problem(fix) for mixture in mixtures(runs)]


def mixtures(runs: Runs) -> list[Mixture]:
    """Return the differences that make runs unequal.

    Policies, protocols and units must agree over all runs, cases and data within each setting.
    """
    found = _mixtures(
        runs,
        {"selection policy": _selection, "protocol": _protocol, "unit of distances": _unit},
        "the runs",
    )
    for setting in dict.fromkeys(run.setting for run in runs):
        of_setting = [run for run in runs if run.setting == setting]
        found += _mixtures(
            of_setting, {**_trained_on(of_setting), **_SCORED_ON}, f"the runs of {setting}"
        )
    return found


def labels(runs: Runs) -> list[str]:
    """Return a label per run: its method, and the keys in which recipes of that method differ."""
    found = []
    for run in runs:
        alike = [other for other in runs if _place(other) == _place(run)]
        keys = differing([other.identity for other in alike])
        found.append(
            " ".join(
                [
                    run.method,
                    *(f"{key.removeprefix('method.')}={run.identity.get(key)}" for key in keys),
                ]
            )
        )
    return found


def row_of(run: FinishedRun) -> tuple[str, str, str, str]:
    """Return what the runs of one row share besides the label."""
    return run.setting, run.selection, run.checkpoint, run.protocol


def _place(run: FinishedRun) -> Hashable:
    return run.method, row_of(run)


def differing(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the sorted keys that do not have the same value in all of some flat recipes."""
    keys = {key for recipe in recipes for key in recipe}
    return sorted(
        key for key in keys if any(recipe.get(key) != recipes[0].get(key) for recipe in recipes)
    )


def same_data(one: FinishedRun, other: FinishedRun) -> bool:
    """True if two runs of a setting were trained and scored on the same cases.

    A reference may have been given more labels.
    """
    return not _mixtures((one, other), {**_trained_on((one, other)), **_SCORED_AS}, "")


def _trained_on(runs: Runs) -> dict[str, Trait]:
    """Return the traits of the training data: keys of [data] and cases. References are exempt."""
    data = [
        key
        for key in differing([run.identity for run in runs if not run.reference])
        if key.startswith("data.")
    ]

    def keys(run: FinishedRun) -> tuple[Hashable, str]:
        text = ", ".join(f"{key}={run.identity.get(key)}" for key in data)
        return None if run.reference else text, text

    def labelled(run: FinishedRun) -> tuple[Hashable, str]:
        told = (
            f"{len(run.labelled)} cases, {run.labelled[0]} to {run.labelled[-1]}"
            if run.labelled
            else ""
        )
        return None if run.reference or not run.labelled else run.labelled, told

    def unlabelled(run: FinishedRun) -> tuple[Hashable, str]:
        return (
            None if run.reference or not run.training_cases else run.training_cases,
            f"fingerprint {run.training_cases}",
        )

    return {"data": keys, "labelled cases": labelled, "training cases": unlabelled}


def _selection(run: FinishedRun) -> tuple[Hashable, str]:
    return (run.selection, run.checkpoint), f"{run.selection} (checkpoint {run.checkpoint})"


def _protocol(run: FinishedRun) -> tuple[Hashable, str]:
    return run.protocol or None, run.protocol


def _unit(run: FinishedRun) -> tuple[Hashable, str]:
    return run.unit, run.unit


def _cases(run: FinishedRun) -> tuple[Hashable, str]:
    return (
        run.cases,
        run.patients,
    ), f"{len(run.cases)} cases, {run.cases[0]} to {run.cases[-1]}" if run.cases else "no cases"


_SCORED_ON: dict[str, Trait] = {
    "cases": _cases,
    "classes": lambda run: (run.class_names, ", ".join(run.class_names)),
}


_SCORED_AS: dict[str, Trait] = {**_SCORED_ON, "unit of distances": _unit}


def _mixtures(runs: Runs, traits: Mapping[str, Trait], who: str) -> list[Mixture]:
    found = []
    for name, trait in traits.items():
        kinds: dict[Hashable, list[FinishedRun]] = {}
        for run in runs:
            if trait(run)[0] is not None:
                kinds.setdefault(trait(run)[0], []).append(run)
        if len(kinds) > 1:
            found.append(
                Mixture(f"{who} differ in their {name}", _told(list(kinds.values()), trait))
            )
    return found


def _told(kinds: Sequence[Runs], trait: Trait) -> dict[str, Runs]:
    """Return the runs by the text of their kind, numbered where two texts are the same."""
    texts = [trait(kind[0])[1] for kind in kinds]
    return {
        text if texts.count(text) == 1 else f"{text}, kind {index + 1}": kinds[index]
        for index, text in enumerate(texts)
    }


def _twice(row: Runs) -> list[Problem]:
    """Return a problem for each seed that a row holds more than once."""
    seeds: dict[int, list[str]] = {}
    for run in row:
        seeds.setdefault(run.seed, []).append(str(run.path))
    return [
        Problem(
            "the same recipe and seed is given more than once",
            ", ".join(paths),
            f"seed {seed}",
            fix="give only one of them",
        )
        for seed, paths in seeds.items()
        if len(paths) > 1
    ]


def _partial(run: FinishedRun) -> list[Problem]:
    """Return a problem if only a part of the split was scored, for a quick look."""
    if not run.partial:
        return []
    found = f"only the first {len(run.cases)} cases were scored"
    fix = RunFolder(run.path).command("evaluate")
    return [
        Problem("the evaluation is partial", str(run.path), found, "all cases of the split", fix)
    ]


def _impossible(run: FinishedRun) -> list[Problem]:
    """Return a problem for each class whose scores no masks can have.

    Over the same cases, mean Jaccard J and mean Dice D satisfy D / (2 - D) <= J <= D.
    """
    dice, jaccard = (mean_of_defined(run.values[metric].T) for metric in ("dice", "jaccard"))
    wrong = (jaccard < dice / (2 - dice) - ROUNDING) | (jaccard > dice + ROUNDING)
    return [
        Problem(
            "no masks can have these scores",
            f"{run.path}, class {run.class_names[index]}",
            f"mean Dice {dice[index]:.4f}, mean Jaccard {jaccard[index]:.4f}",
            f"a Jaccard from {dice[index] / (2 - dice[index]):.4f} to {dice[index]:.4f}",
            "evaluate the run again; its table of cases was changed",
        )
        for index in np.flatnonzero(wrong)
    ]
