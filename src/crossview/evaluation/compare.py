"""Comparison of several runs: spread over seeds, intervals over patients, paired differences.

A row is a method in a setting: the runs whose recipes differ only in their seed. Each setting has
its own baseline row. Unfinished runs, a run given twice, different cases within a setting, and
different selection policies, checkpoints or protocols in one table are refused. ``mixed`` allows
unlike rows, and a note then names what is mixed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossview.errors import Problem, UserError, nearest, raise_all
from crossview.evaluation import bootstrap, comparable, remarks
from crossview.evaluation.bootstrap import Difference
from crossview.evaluation.finished import FinishedRun, read_run
from crossview.evaluation.metrics import METRICS
from crossview.evaluation.remarks import SIGNIFICANT

if TYPE_CHECKING:
    from rich.console import RenderableType

BASELINES = ("supervised", "cml labelled only")


@dataclass(frozen=True)
class Spread:
    """A measure of a row, over seeds and patients.

    Attributes:
        mean: Mean over seeds; NaN where nothing counts.
        sd: Standard deviation over seeds (n - 1); None for one seed.
        minimum: Smallest value over seeds; NaN where nothing counts.
        maximum: Largest value over seeds; NaN where nothing counts.
        ci95: 95% interval over patients, or None.
        left_out: Number of predictions that are in none of these numbers, because they or the truth
            are empty and have no such measure.
    """

    mean: float
    sd: float | None
    minimum: float
    maximum: float
    ci95: tuple[float, float] | None
    left_out: int = 0


@dataclass(frozen=True)
class Row:
    """A method in a setting.

    Attributes:
        steps: Training steps of one run.
        seconds: Training time, the mean over seeds.
        metrics: The mean over classes, by metric.
        classes: The same for each class, by its name.
        empty: Number of predictions by kind of empty mask.
        predictions: Cases x classes x seeds.
        protocol: See Membership.
        reference: See Membership.
        differences: Differences to the baseline by metric; {} without a row to compare with.
        p: p-value of the Dice difference, by Holm's correction over the compared rows. None for a
            reference, which does not compete, and for a difference with one seed on a side.
        verdict: "better", "worse" or "no difference shown", by the Dice difference; "one seed",
            which shows nothing; "reference"; "" where nothing is compared.
    """

    method: str
    setting: str
    selection: str
    checkpoint: str
    unit: str
    seeds: tuple[int, ...]
    cases: int
    predictions: int
    steps: int
    seconds: float
    metrics: Mapping[str, Spread]
    classes: Mapping[str, Mapping[str, Spread]]
    empty: Mapping[str, int]
    patients: int = 0
    protocol: str = ""
    reference: bool = False
    is_baseline: bool = False
    differences: Mapping[str, Difference] = field(default_factory=dict)
    p: float | None = None
    verdict: str = ""


@dataclass(frozen=True)
class Comparison:
    """Rows in the order in which their first runs were given, and each run with its row's label."""

    rows: tuple[Row, ...]
    runs: tuple[tuple[str, FinishedRun], ...]
    split: str
    baseline: str | None
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """Return the table in Markdown, a table of classes if there are several, and notes."""
        from crossview.evaluation.tables import markdown

        return markdown(self)

    def csv(self) -> str:
        """Return one line per run.

        The columns are method, setting, seed, steps, dice, jaccard, hd95, asd, ci_low, ci_high (of
        Dice), selection, the counts of empty masks, and the difference of the row to the baseline.
        """
        from crossview.evaluation.tables import runs_csv

        return runs_csv(self)

    def table(self, width: int = 120) -> RenderableType:
        """Return the table for a terminal of ``width`` columns; a narrow one shows less."""
        from crossview.evaluation.terminal import terminal

        return terminal(self, width)


def compare(
    runs: Sequence[Path | str],
    *,
    split: str = "test",
    baseline: str | None = None,
    mixed: bool = False,
) -> Comparison:
    """Compare finished, evaluated runs.

    Args:
        runs: Run folders or records of runs.
        split: The split whose evaluation is compared.
        baseline: Label of a row. Default: labelled-only training if present, else the first row.
        mixed: Allow partial evaluations, and rows with different protocols, selection policies,
            checkpoints and cases in one table. Differences are then reported only between rows that
            agree, and a note names what is mixed.

    Returns:
        The rows with their differences to the baseline, and notes on what they cannot show.

    Raises:
        UserError: If a folder is not a finished run or the runs cannot share a table. It holds all
            problems at once.
    """
    found = _read_all([Path(run) for run in runs], split)
    labels = comparable.labels(found)
    groups: dict[tuple[str, ...], list[FinishedRun]] = {}
    for label, run in zip(labels, found, strict=True):
        groups.setdefault((label, *comparable.row_of(run)), []).append(run)
    raise_all(comparable.problems(found, list(groups.values()), mixed))

    label = _baseline(list(dict.fromkeys(labels)), baseline)
    rows = [_row(name, group, name == label) for (name, *_), group in groups.items()]
    notes = [mixture.note() for mixture in comparable.mixtures(found)] + remarks.of_rows(
        rows, list(groups.values())
    )
    rows = _with_differences(rows, list(groups.values()), notes)
    notes += remarks.of_verdicts(rows)
    labelled = tuple(zip(labels, found, strict=True))
    return Comparison(
        tuple(rows),
        labelled,
        split,
        label if len(rows) > 1 else None,
        (*notes, *remarks.of_runs(labelled)),
    )


def _read_all(paths: Sequence[Path], split: str) -> list[FinishedRun]:
    found: list[FinishedRun] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            found.append(read_run(path, split))
        except UserError as error:
            problems.extend(error.problems)
    raise_all(problems)
    if not found:
        raise UserError(
            Problem(
                "there are no runs to compare",
                expected="run folders written by crossview train and evaluate",
            )
        )
    return found


def _baseline(labels: Sequence[str], asked: str | None) -> str:
    asked = (
        None if asked is None else asked.replace(", labelled only", " labelled only")
    )  # the spelling up to 0.1
    if asked is not None and asked not in labels:
        raise UserError(
            Problem(f"the baseline '{asked}' is none of the rows", fix=nearest(asked, labels))
        )
    return asked or next((label for label in BASELINES if label in labels), labels[0])


def _row(label: str, runs: Sequence[FinishedRun], is_baseline: bool) -> Row:
    first, width = runs[0], len(runs[0].class_names)
    values = np.concatenate(
        [bootstrap.over_seeds(_values(runs, metric)) for metric in METRICS], axis=1
    )
    resamples = bootstrap.resample(values, first.patients)

    def spread(metric: str, classes: range) -> Spread:
        columns = [METRICS.index(metric) * width + index for index in classes]
        seeds = np.array(
            [bootstrap.mean_of_means(run.values[metric][:, list(classes)]) for run in runs]
        )
        seeds = seeds[~np.isnan(seeds)]
        left_out = sum(int(np.isnan(run.values[metric][:, list(classes)]).sum()) for run in runs)
        if not seeds.size:
            return Spread(math.nan, None, math.nan, math.nan, None, left_out)
        sd = float(seeds.std(ddof=1)) if seeds.size > 1 else None
        mean = bootstrap.mean_of_means(
            values[:, columns]
        )  # as for the interval, seeds are averaged within a case
        return Spread(
            mean, sd, float(seeds.min()), float(seeds.max()), resamples.interval(columns), left_out
        )

    kinds = sorted({kind for run in runs for kind in run.empty})
    return Row(
        method=label,
        setting=first.setting,
        selection=first.selection,
        checkpoint=first.checkpoint,
        unit=first.unit,
        seeds=tuple(sorted(run.seed for run in runs)),
        cases=len(first.cases),
        predictions=len(runs) * len(first.cases) * width,
        steps=first.steps,
        seconds=float(np.mean([run.seconds for run in runs])),
        metrics={metric: spread(metric, range(width)) for metric in METRICS},
        classes={
            name: {metric: spread(metric, range(index, index + 1)) for metric in METRICS}
            for index, name in enumerate(first.class_names)
        },
        empty={kind: sum(run.empty.get(kind, 0) for run in runs) for kind in kinds},
        patients=len(set(first.patients)),
        protocol=first.protocol,
        reference=first.reference,
        is_baseline=is_baseline,
    )


def _values(runs: Sequence[FinishedRun], metric: str) -> list[NDArray[np.float64]]:
    """Return each run's values (cases, classes)."""
    return [run.values[metric] for run in runs]


def _with_differences(
    rows: Sequence[Row], groups: Sequence[Sequence[FinishedRun]], notes: list[str]
) -> list[Row]:
    """Return the rows with their differences to the baseline row of the same kind.

    p-values are corrected for the number of competitors.
    """
    found: dict[int, dict[str, Difference]] = {}
    single = set()
    for index, (row, group) in enumerate(zip(rows, groups, strict=True)):
        base = next(
            (
                i
                for i, other in enumerate(rows)
                if other.is_baseline and _alike(group[0], groups[i][0])
            ),
            None,
        )
        if row.is_baseline or base is None:
            continue
        ours, theirs = _same_seeds(
            group, groups[base], notes, f"{row.method} against {rows[base].method}"
        )
        if min(len(ours), len(theirs)) < 2:
            single.add(index)
        pairs = {
            metric: bootstrap.paired(
                _values(ours, metric), _values(theirs, metric), ours[0].patients
            )
            for metric in METRICS
        }
        found[index] = {
            metric: _bounded(difference, row.patients)
            for metric, difference in pairs.items()
            if difference is not None
        }
    told = [index for index, differences in found.items() if "dice" in differences]
    compared = [index for index in told if not rows[index].reference and index not in single]
    adjusted = dict(
        zip(compared, bootstrap.holm([found[index]["dice"].p for index in compared]), strict=True)
    )

    def with_difference(index: int, row: Row) -> Row:
        differences, p = found.get(index, {}), adjusted.get(index)
        verdict = _verdict(differences, p)
        if index in told and index not in compared:
            verdict = "reference" if row.reference else "one seed"
        return replace(row, differences=differences, p=p, verdict=verdict)

    return [with_difference(index, row) for index, row in enumerate(rows)]


def _alike(one: FinishedRun, other: FinishedRun) -> bool:
    """True if two runs share setting, selection policy, checkpoint, protocol, cases and data.

    An unknown protocol agrees with any; a note reports it.
    """
    policies = [(run.setting, run.selection, run.checkpoint) for run in (one, other)]
    protocols = {run.protocol for run in (one, other) if run.protocol}
    return policies[0] == policies[1] and len(protocols) < 2 and comparable.same_data(one, other)


def _same_seeds(
    ours: Sequence[FinishedRun], theirs: Sequence[FinishedRun], notes: list[str], what: str
) -> tuple[Sequence[FinishedRun], Sequence[FinishedRun]]:
    """Return the runs of the seeds that both sides have; without any, all runs and a note."""
    common = {run.seed for run in ours} & {run.seed for run in theirs}
    if not common:
        notes.append(f"{what}: no seed in common, so all seeds of both sides are compared.")
        return ours, theirs
    if len(common) < max(len(ours), len(theirs)):
        notes.append(
            f"{what}: compared only on the seeds that both have "
            f"({', '.join(map(str, sorted(common)))})."
        )
    return [run for run in ours if run.seed in common], [
        run for run in theirs if run.seed in common
    ]


def _bounded(difference: Difference, patients: int) -> Difference:
    """Raise p to at least 2 / 2^n, the chance that the differences of n patients share one sign.

    The bootstrap of few patients does not know this bound.
    """
    return replace(difference, p=max(difference.p, min(1.0, 2.0 ** (1 - patients))))


def _verdict(differences: Mapping[str, Difference], p: float | None) -> str:
    """Return the verdict on the Dice difference.

    No difference is shown if its interval holds 0 or its corrected p-value is 0.05 or more.
    """
    if p is None:
        return ""
    dice = differences["dice"]
    if p >= SIGNIFICANT or dice.low <= 0 <= dice.high:
        return "no difference shown"
    return "better" if dice.mean > 0 else "worse"
