"""Cross-validation: one fold of the labelled cases is tested, the others are trained on.

Patients are dealt to the folds in turn, in the order of the labelled cases. So folds differ by at
most one patient, and neighbours in a list, which often share a site, are in different folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crossview.core.errors import Problem, raise_all
from crossview.core.text import count
from crossview.data.case import Splits

FEWEST_TRAINED = 2
"""Fewest labelled cases that a fold leaves for training."""

NOTE = (
    "Cross-validation: the test cases are a fold of the labelled cases, and neither they nor other "
    "scans of their patients were trained on."
)


def of_fold(splits: Splits, fold: Sequence[int]) -> Splits:
    """Return the cases of a fold (number, of): it is the test set, and the rest is trained on.

    Validation cases are the same in every fold. The data set's own test cases are not used, nor
    are unlabelled scans of the patients tested. An empty fold returns ``splits`` itself.

    Raises UserError if there are more folds than patients, or too few cases are left to train on.
    """
    if not fold:
        return splits
    number, of = fold
    patients = list(dict.fromkeys(case.patient for case in splits.labelled))
    tested = set(patients[number - 1 :: of])
    test = tuple(case for case in splits.labelled if case.patient in tested)
    labelled = tuple(case for case in splits.labelled if case.patient not in tested)
    unlabelled = tuple(case for case in splits.unlabelled if case.patient not in tested)
    left_out = tuple(case for case in splits.unlabelled if case.patient in tested)
    raise_all(_problems(of, len(patients), len(labelled)))
    return replace(
        splits,
        labelled=labelled,
        unlabelled=unlabelled,
        test=test,
        unused=(*splits.unused, *splits.test, *left_out),
        notes=(*splits.notes, NOTE),
    )


def _problems(folds: int, patients: int, left: int) -> list[Problem]:
    where = "[data] fold"
    if folds > patients:
        found = f"{count(folds, 'fold')} for {count(patients, 'labelled patient')}"
        fix = f"use {patients} folds or fewer, or label more scans"
        return [Problem("more folds than labelled patients", where, found, fix=fix)]
    if left >= FEWEST_TRAINED:
        return []
    what = "a fold leaves too few labelled cases to train on"
    return [Problem(what, where, str(left), f"at least {FEWEST_TRAINED}", "label more scans")]
