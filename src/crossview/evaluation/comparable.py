"""Checks of which runs can share a table, and labels that tell their rows apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossview.core.errors import Problem
from crossview.core.run_folder import RunFolder
from crossview.core.text import count, first_few
from crossview.evaluation.bootstrap import mean_of_defined
from crossview.evaluation.finished import START, FinishedRun
from crossview.evaluation.patients import only_first

ROUNDING = 2e-6
"""Effect that the six decimals of a record can have on the relation of Jaccard to Dice."""


FEW = 4
"""Most cases that a difference names."""


Runs = Sequence[FinishedRun]


@dataclass(frozen=True)
class Trait:
    """Something that must agree.

    Attributes:
        value: Returns a run's value, which is empty if the run does not record it.
        texts: Returns the values in words, given one run of each kind.
    """

    value: Callable[[FinishedRun], Hashable]
    texts: Callable[[Runs], list[str]]


Traits = Mapping[str, Trait]
"""What must agree, by name."""


@dataclass(frozen=True)
class Mixture:
    """Runs that differ in what must agree; ``kinds`` holds them by the text of their kind."""

    who: str
    trait: str
    kinds: Mapping[str, Runs]

    @property
    def what(self) -> str:
        return f"{self.who} differ in their {self.trait}"

    def problem(self, fix: str) -> Problem:
        shown = [
            f"{kind}: {', '.join(str(run.path) for run in runs)}"
            for kind, runs in self.kinds.items()
        ]
        return Problem(self.what, found="; ".join(shown), expected="the same for all", fix=fix)

    def note(self, labels: Mapping[Path, str]) -> str:
        """Return the note of a table that shows such runs. labels: of the runs' rows."""
        shown = [
            f"{kind} ({', '.join(dict.fromkeys(labels[run.path] for run in runs))})"
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
    fix = (
        "compare runs that agree, or add --mixed, which shows the scores of these side by side, "
        "without a difference"
    )
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
        shown = [_setting_of(key, run.identity.get(key)) for key in keys]
        found.append(" ".join([run.label, *shown]))
    return found


def _setting_of(key: str, value: Any) -> str:
    """Return a key with its value, which is None if the recipe has no such key."""
    if key == START:
        return f"from {'scratch' if value is None else value}"
    short = key.removeprefix("method.")
    return f"no {short}" if value is None else f"{short}={value}"


def row_of(run: FinishedRun) -> tuple[str, ...]:
    """Return what the runs of one row share besides the label."""
    return run.setting, run.selection, run.checkpoint, run.protocol, str(run.fold)


def differing(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the sorted keys that do not have the same value in all of some flat recipes."""
    keys = {key for recipe in recipes for key in recipe}
    return sorted(
        key for key in keys if any(recipe.get(key) != recipes[0].get(key) for recipe in recipes)
    )


def unlike(one: FinishedRun, other: FinishedRun) -> list[str]:
    """Return in what two runs of a setting differ so that no difference of them is given.

    A reference may have been given more labels. An unknown protocol agrees with any; a note
    reports it.
    """
    return [mixture.trait for mixture in mixtures((one, other))]


def _span(cases: Sequence[str]) -> str:
    return f"{len(cases)} cases, {cases[0]} to {cases[-1]}" if cases else "no cases"


def _each(text: Callable[[FinishedRun], str]) -> Callable[[Runs], list[str]]:
    return lambda runs: [text(run) for run in runs]


_POLICY: Traits = {
    "selection policy": Trait(
        lambda run: (run.selection, run.checkpoint),
        _each(lambda run: f"{run.selection} (checkpoint {run.checkpoint})"),
    ),
    "protocol": Trait(lambda run: run.protocol, _each(lambda run: run.protocol)),
}


_UNIT: Traits = {
    # Earlier versions called pixels voxels.
    "unit of distances": Trait(
        lambda run: run.unit.replace("pixel", "voxel"), _each(lambda run: run.unit)
    )
}


_SCORED_ON: Traits = {
    "cases": Trait(lambda run: (run.cases, run.patients), _each(lambda run: _span(run.cases))),
    "classes": Trait(lambda run: run.class_names, _each(lambda run: ", ".join(run.class_names))),
}


_LABELLED = Trait(
    lambda run: run.labelled,
    lambda runs: _which([run.labelled for run in runs], "labelled case"),
)


_TRAINING = Trait(lambda run: run.training_cases, lambda runs: _unlabelled(runs))
"""Of runs with the same labelled cases: the unlabelled ones."""


def _which(every: Sequence[Sequence[str]], noun: str) -> list[str]:
    """Return for each kind how many cases it has, and those that not all kinds have."""
    sets = [dict.fromkeys(cases) for cases in every]  # pooled folds have each case several times
    found = []
    for cases in sets:
        own = [case for case in cases if not all(case in others for others in sets)]
        which = f" (not in all runs: {first_few(own, FEW)})" if own else ""
        found.append(f"{count(len(cases), noun)}{which}")
    return found


def _unlabelled(runs: Runs) -> list[str]:
    """Return the unlabelled cases of each kind; their number alone where the names are unknown."""
    names = [
        [
            case
            for case, facts in RunFolder(run.path).training_cases.items()
            if isinstance(facts, Mapping) and not facts.get("labelled") and not run.fold
        ]
        for run in runs
    ]
    if all(names):
        return _which(names, "unlabelled case")
    return [count(run.unlabelled, "unlabelled case") for run in runs]


STUDENTS = ("data.predicted", "data.augmentation")
"""Keys of [data] in which a student differs from its teacher by its plan; its row has its name."""


def _trained_on_others(runs: Runs, who: str) -> list[Mixture]:
    """Return the differences in keys of [data] and in training cases. References are exempt.

    Runs with other labelled cases have another number of them, and other unlabelled ones: that is
    one difference, not three.
    """
    competing = [run for run in runs if not run.reference]
    keys = differing([run.identity for run in competing])
    own: tuple[str, ...] = STUDENTS if "data.predicted" in keys else ()
    if all(run.labelled for run in competing):
        own += ("data.labelled",)

    def data(run: FinishedRun) -> str:
        named = (key for key in keys if key.startswith("data.") and key not in own)
        return ", ".join(f"{key}={run.identity.get(key)}" for key in named)

    found = _mixtures(competing, {"data": Trait(data, _each(data))}, who)
    labelled = _mixtures(competing, {"labelled cases": _LABELLED}, who)
    groups = [runs for mixture in labelled for runs in mixture.kinds.values()] or [competing]
    for group in groups:
        labelled += _mixtures(group, {"training cases": _TRAINING}, who)
    return found + labelled


def _mixtures(runs: Runs, traits: Traits, who: str) -> list[Mixture]:
    found = []
    for name, trait in traits.items():
        kinds: dict[Hashable, list[FinishedRun]] = {}
        for run in runs:
            if value := trait.value(run):
                kinds.setdefault(value, []).append(run)
        if len(kinds) > 1:
            texts = trait.texts([of_kind[0] for of_kind in kinds.values()])
            named = {  # numbered where two texts are the same
                text if texts.count(text) == 1 else f"{text}, kind {index}": of_kind
                for index, (text, of_kind) in enumerate(
                    zip(texts, kinds.values(), strict=True), start=1
                )
            }
            found.append(Mixture(who, name, named))
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
