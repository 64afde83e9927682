"""Comparison of several runs: spread over seeds, intervals over patients, paired differences.

A row is a method in a setting: the runs whose recipes differ only in their seed. Each setting has
its own baseline row. The folds of a cross-validation are pooled. Unfinished runs, a run given
twice, different cases within a setting, and different selection policies, checkpoints or protocols
in one table are refused. ``mixed`` allows unlike rows, and a note then names what is mixed.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crossview.core.errors import Problem, UserError, fail, nearest, raise_all
from crossview.core.text import listed
from crossview.evaluation import bootstrap, comparable, folds, notes, tables
from crossview.evaluation.bootstrap import Difference
from crossview.evaluation.finished import FinishedRun, read_run
from crossview.evaluation.metrics import METRICS
from crossview.evaluation.rows import Row, Spread

BASELINES = ("supervised", "cml labelled only")


@dataclass(frozen=True)
class Comparison:
    """Rows in the order in which their first runs were given, and each run with its row.

    Attributes:
        split: The split that was scored.
        baseline: The label of the baseline rows; None if there is only one row.
        notes: Sentences on what the numbers cannot show, those that decide first.
    """

    rows: tuple[Row, ...]
    runs: tuple[tuple[Row, FinishedRun], ...]
    split: str
    baseline: str | None
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """Return the table in Markdown, a table of classes if there are several, and notes."""
        return tables.markdown(self.rows, self.baseline, self.notes)

    def csv(self) -> str:
        """Return one line per run.

        The columns are method, setting, seed, steps, dice, jaccard, hd95, asd, ci_low, ci_high (of
        Dice), selection, protocol, seconds, the counts of predictions and of empty masks, and the
        difference of the row to the baseline.
        """
        return tables.runs_csv(self.runs, self.baseline)


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
        baseline: Label of a row, or its begin if no other row begins so. Default: labelled-only
            training if present, else the first row.
        mixed: Allow partial evaluations, and rows with different protocols, selection policies,
            checkpoints and cases in one table. Differences are then reported only between rows that
            agree, and a note names what is mixed.

    Returns:
        The rows with their differences to the baseline, and notes on what they cannot show.

    Raises:
        UserError: If a folder is not a finished run or the runs cannot share a table. It holds all
            problems at once.
    """
    found = folds.pooled(_read_all([Path(run) for run in runs], split))
    labels = comparable.labels(found)
    groups = _groups(found, labels)
    raise_all(comparable.problems(found, list(groups.values()), mixed))

    base = _baseline(list(dict.fromkeys(labels)), baseline)
    rows = [_row(label, group, label == base) for (label, *_), group in groups.items()]
    rows, on_differences = _with_differences(rows)
    row_of = {run.path: row for row in rows for run in row.runs}
    with_rows = tuple((row_of[run.path], run) for run in found)
    label_of = {run.path: row.method for row, run in with_rows}
    mixtures = [mixture.note(label_of) for mixture in comparable.mixtures(found)]
    return Comparison(
        tuple(rows),
        with_rows,
        split,
        base if len(rows) > 1 else None,
        (*mixtures, *on_differences, *notes.of_runs(with_rows), *notes.of_rows(rows)),
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
        fail(
            "there are no runs to compare",
            expected="run folders written by crossview train and evaluate",
        )
    return found


def _groups(
    runs: Sequence[FinishedRun], labels: Sequence[str]
) -> dict[tuple[str, ...], list[FinishedRun]]:
    """Return the runs of each row, by its label and what its runs share besides."""
    groups: dict[tuple[str, ...], list[FinishedRun]] = {}
    for label, run in zip(labels, runs, strict=True):
        groups.setdefault((label, *comparable.row_of(run)), []).append(run)
    return groups


def _baseline(labels: Sequence[str], asked: str | None) -> str:
    """Return the row asked for, by its label or the begin of it, or else the usual one."""
    if asked is None:
        return next((label for label in BASELINES if label in labels), labels[0])
    begun = (
        [asked] if asked in labels else [each for each in labels if each.startswith(f"{asked} ")]
    )
    if not begun:
        fail(f"the baseline '{asked}' is none of the rows", fix=nearest(asked, labels))
    if len(begun) > 1:
        fail(
            f"several rows begin with '{asked}', the baseline asked for",
            found="; ".join(begun),
            fix=f"give one of them whole: --baseline {shlex.quote(begun[0])}",
        )
    return begun[0]


def _row(label: str, runs: Sequence[FinishedRun], is_baseline: bool) -> Row:
    first, width = runs[0], len(runs[0].class_names)
    # As for the interval, seeds are averaged within a case.
    values = np.concatenate([bootstrap.over_seeds(_values(runs, each)) for each in METRICS], axis=1)
    resamples = bootstrap.resample(values, first.patients)

    def spread(metric: str, classes: Sequence[int]) -> Spread:
        of_runs = [each[:, classes] for each in _values(runs, metric)]
        left_out = sum(int(np.isnan(each).sum()) for each in of_runs)
        seeds = [mean for each in of_runs if not math.isnan(mean := bootstrap.mean_of_means(each))]
        if not seeds:
            return Spread(math.nan, left_out=left_out)
        columns = [METRICS.index(metric) * width + index for index in classes]
        mean = bootstrap.mean_of_means(values[:, columns])
        return Spread(mean, tuple(seeds), resamples.interval(columns), left_out)

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
            name: {metric: spread(metric, [index]) for metric in METRICS}
            for index, name in enumerate(first.class_names)
        },
        empty={kind: sum(run.empty.get(kind, 0) for run in runs) for kind in kinds},
        patients=len(set(first.patients)),
        protocol=first.protocol,
        reference=first.reference,
        is_baseline=is_baseline,
        runs=tuple(runs),
    )


def _values(runs: Sequence[FinishedRun], metric: str) -> list[bootstrap.Floats]:
    """Return each run's values (cases, classes)."""
    return [run.values[metric] for run in runs]


def _with_differences(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows with their differences to the baseline row of the same kind, and notes."""
    found, on_seeds = [], []
    missing: dict[tuple[str, str], list[str]] = {}
    bases = [row for row in rows if row.is_baseline]
    for row in rows:
        if not row.is_baseline:
            base, reason = _base_of(row, bases)
            if not reason:
                ours, theirs, note = _same_seeds(row.runs, base.runs)
                row = _compared(row, ours, theirs)
                on_seeds += [f"{row.method} against {base.method}: {note}"] if note else []
                reason = "" if row.difference else "no case has a Dice in both"
            if reason:
                missing.setdefault((base.method, reason), []).append(row.method)
        found.append(row)
    not_given = [notes.not_given(*key, labels) for key, labels in missing.items()]
    return _corrected(found), [*not_given, *on_seeds]


def _base_of(row: Row, bases: Sequence[Row]) -> tuple[Row, str]:
    """Return the baseline row that a row can be compared with, or one and why it cannot."""
    here = [base for base in bases if base.setting == row.setting]
    if not here:
        return bases[0], f"the setting {row.setting} has no row of that name"
    found = [(comparable.unlike(row.runs[0], base.runs[0]), base) for base in here]
    traits, base = min(found, key=lambda each: len(each[0]))
    return base, f"they differ in their {listed(traits)}" if traits else ""


def _same_seeds(
    ours: Sequence[FinishedRun], theirs: Sequence[FinishedRun]
) -> tuple[Sequence[FinishedRun], Sequence[FinishedRun], str]:
    """Return the runs with seeds that both sides have, and a note. If none is shared: all runs."""
    common = {run.seed for run in ours} & {run.seed for run in theirs}
    if not common:
        return ours, theirs, "no seed in common, so all seeds of both sides are compared."
    note = ""
    if len(common) < max(len(ours), len(theirs)):
        seeds = ", ".join(map(str, sorted(common)))
        note = f"compared only on the seeds that both have ({seeds})."
    ours, theirs = ([run for run in runs if run.seed in common] for runs in (ours, theirs))
    return ours, theirs, note


def _compared(row: Row, ours: Sequence[FinishedRun], theirs: Sequence[FinishedRun]) -> Row:
    """Return a row with its differences. A reference row, which is not tested, gets its verdict."""
    pairs = {
        metric: bootstrap.paired(_values(ours, metric), _values(theirs, metric), ours[0].patients)
        for metric in METRICS
    }
    differences = {
        metric: _bounded(difference, row.patients)
        for metric, difference in pairs.items()
        if difference is not None
    }
    verdict = ""
    if "dice" in differences and (row.reference or min(len(ours), len(theirs)) < 2):
        verdict = "reference" if row.reference else "one seed"
    return replace(row, differences=differences, verdict=verdict)


def _bounded(difference: Difference, patients: int) -> Difference:
    """Raise p to at least 2 / 2^n, the chance that the differences of n patients share one sign.

    The bootstrap of few patients does not know this bound.
    """
    return replace(difference, p=max(difference.p, min(1.0, 2.0 ** (1 - patients))))


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the verdicts of the competitors, corrected for their number."""
    competing = {
        place: row.difference
        for place, row in enumerate(rows)
        if row.difference is not None and not row.verdict
    }
    p_values = bootstrap.holm([dice.p for dice in competing.values()])
    found = list(rows)
    for (place, dice), p in zip(competing.items(), p_values, strict=True):
        found[place] = replace(rows[place], p=p, verdict=_verdict(dice, p))
    return found


def _verdict(dice: Difference, p: float) -> str:
    """Return the verdict on the Dice difference.

    No difference is shown if its interval holds 0 or its corrected p-value is 0.05 or more.
    """
    if p >= notes.SIGNIFICANT or dice.low <= 0 <= dice.high:
        return "no difference shown"
    return "better" if dice.mean > 0 else "worse"
