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
from crossview.evaluation.patients import only_first

ROUNDING = 2e-6
"""Effect that the six decimals of a record can have on the relation of Jaccard to Dice."""


Runs = Sequence[FinishedRun]


Traits = Mapping[str, Callable[[FinishedRun], tuple[Hashable, str]]]
"""Functions of what must agree, by name.

Each returns the value, which is empty if a run does not record it, and its text for the user.
"""


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
            for mixture in _mixtures(row, {**_SCORED_ON, **_UNIT}, "the runs")
        ]
    fix = "compare runs that agree, or show these in one table with --mixed"
    found += [
        Problem(
            "the evaluation is partial",
            str(run.path),
            only_first(len(run.cases)),
            "all cases of the split",
            RunFolder(run.path).command("evaluate"),
        )
        for run in runs
        if run.partial
    ]
    return found + [mixture.problem(fix) for mixture in mixtures(runs)]


def mixtures(runs: Runs) -> list[Mixture]:
    """Return the differences that make runs unequal.

    Policies, protocols and units must agree over all runs, cases and data within each setting.
    """
    found = _mixtures(runs, {**_POLICY, **_UNIT}, "the runs")
    for setting in dict.fromkeys(run.setting for run in runs):
        of_setting = [run for run in runs if run.setting == setting]
        who = f"the runs of {setting}"
        found += _trained_on_others(of_setting, who) + _mixtures(of_setting, _SCORED_ON, who)
    return found


def labels(runs: Runs) -> list[str]:
    """Return a label per run: its own, and the keys in which recipes of its method differ."""
    found = []
    for run in runs:
        alike = [each for each in runs if (each.method, row_of(each)) == (run.method, row_of(run))]
        keys = differing([each.identity for each in alike])
        shown = [f"{key.removeprefix('method.')}={run.identity.get(key)}" for key in keys]
        found.append(" ".join([run.label, *shown]))
    return found


def row_of(run: FinishedRun) -> tuple[str, ...]:
    """Return what the runs of one row share besides the label."""
    return run.setting, run.selection, run.checkpoint, run.protocol, str(run.fold)


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
    both = (one, other)
    return not _trained_on_others(both, "") and not _mixtures(both, {**_SCORED_ON, **_UNIT}, "")


def _span(cases: Sequence[str]) -> str:
    return f"{len(cases)} cases, {cases[0]} to {cases[-1]}" if cases else "no cases"


_POLICY: Traits = {
    "selection policy": lambda run: (
        (run.selection, run.checkpoint),
        f"{run.selection} (checkpoint {run.checkpoint})",
    ),
    "protocol": lambda run: (run.protocol, run.protocol),
}


_UNIT: Traits = {
    # Earlier versions called pixels voxels.
    "unit of distances": lambda run: (run.unit.replace("pixel", "voxel"), run.unit)
}


_SCORED_ON: Traits = {
    "cases": lambda run: ((run.cases, run.patients), _span(run.cases)),
    "classes": lambda run: (run.class_names, ", ".join(run.class_names)),
}


STUDENTS = ("data.predicted", "data.augmentation")
"""Keys of [data] in which a student differs from its teacher by its plan; its row has its name."""


def _trained_on_others(runs: Runs, who: str) -> list[Mixture]:
    """Return the differences in keys of [data] and in training cases. References are exempt."""
    competing = [run for run in runs if not run.reference]
    keys = differing([run.identity for run in competing])
    own = STUDENTS if "data.predicted" in keys else ()

    def data(run: FinishedRun) -> tuple[Hashable, str]:
        named = (key for key in keys if key.startswith("data.") and key not in own)
        text = ", ".join(f"{key}={run.identity.get(key)}" for key in named)
        return text, text

    traits: Traits = {
        "data": data,
        "labelled cases": lambda run: (run.labelled, _span(run.labelled)),
        "training cases": lambda run: (run.training_cases, f"fingerprint {run.training_cases}"),
    }
    return _mixtures(competing, traits, who)


def _mixtures(runs: Runs, traits: Traits, who: str) -> list[Mixture]:
    found = []
    for name, trait in traits.items():
        kinds: dict[tuple[Hashable, str], list[FinishedRun]] = {}
        for run in runs:
            if trait(run)[0]:
                kinds.setdefault(trait(run), []).append(run)
        if len(kinds) > 1:
            texts = [text for _, text in kinds]
            named = {  # numbered where two texts are the same
                text if texts.count(text) == 1 else f"{text}, kind {index}": of_kind
                for index, ((_, text), of_kind) in enumerate(kinds.items(), 1)
            }
            found.append(Mixture(f"{who} differ in their {name}", named))
    return found


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
