"""Folds pooled into one run: the same numbers as if one run had been tested on all their cases."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.made_folder import problems_of

from crossview.core.errors import UserError
from crossview.data.sources.folds import NOTE
from crossview.evaluation.finished import FinishedRun
from crossview.evaluation.folds import complete, pooled
from crossview.evaluation.metrics import METRICS

CASES = tuple(f"case{number:02d}" for number in range(7))


@pytest.fixture
def whole():
    """A run that was tested on seven cases of five patients, two classes."""
    values = np.random.default_rng(0).uniform(0.5, 0.9, (len(METRICS), 7, 2))
    values[2, 3, 1] = np.nan
    return FinishedRun(
        path=Path("whole"),
        method="cml",
        setting="mine",
        seed=1,
        steps=100,
        seconds=60.0,
        selection="last",
        checkpoint="last",
        unit="mm",
        precision="float32",
        identity={"data.patch": [8, 8, 8]},
        class_names=("one", "two"),
        cases=CASES,
        patients=tuple("abccdea"),
        values=dict(zip(METRICS, values, strict=True)),
        empty={"missed": 2},
        partial=False,
        notes=("Of all.",),
    )


def folds_of(whole, places=((0, 6, 4), (1, 5), (2, 3)), **changes):
    """Return the run as folds with the cases at these places."""
    return [
        replace(
            whole,
            path=Path(f"fold{number}"),
            fold=(number, len(places)),
            seconds=60.0 * number,
            cases=tuple(whole.cases[place] for place in of_fold),
            patients=tuple(whole.patients[place] for place in of_fold),
            values={name: values[list(of_fold)] for name, values in whole.values.items()},
            empty={"missed": 1} if number < 3 else {},
            notes=(NOTE, *whole.notes, *(["Of this fold."] if number == 2 else [])),
            labelled=tuple(f"l{number}"),
            training_cases=f"t{number}",
            **changes,
        )
        for number, of_fold in enumerate(places, start=1)
    ]


def test_pooled_folds_are_one_run_over_all_cases(whole):
    (found,) = pooled(reversed(folds_of(whole)))
    assert (found.cases, found.patients) == (whole.cases, whole.patients)
    for metric in METRICS:
        np.testing.assert_array_equal(found.values[metric], whole.values[metric])
    assert (found.empty, found.seconds, found.fold) == ({"missed": 2}, 120.0, (0, 3))
    assert (found.labelled, found.training_cases) == (("l", "1", "l", "2", "l", "3"), "t1+t2+t3")
    assert found.notes[0].startswith("Cross-validation: 3 runs per seed")
    assert found.notes[1:] == ("Of all.", "fold 2: Of this fold.")


@pytest.mark.parametrize(
    ("in_vain", "label"),
    [
        ((), "cml"),
        ((2,), "cml (labelled stage only in some folds)"),
        ((1, 2, 3), "cml (labelled stage only)"),
    ],
)
def test_folds_that_used_no_unlabelled_scan_mark_their_row(whole, in_vain, label):
    folds = [
        replace(fold, stages="labelled stage only") if fold.fold[0] in in_vain else fold
        for fold in folds_of(whole)
    ]
    (found,) = pooled(folds)
    assert found.label == label


def test_only_folds_of_the_same_recipe_and_seed_are_pooled(whole):
    first, second = folds_of(whole), folds_of(replace(whole, seed=2))
    other = folds_of(replace(whole, identity={"data.patch": [9, 9, 9]}))
    found = pooled([whole, *first, *second, *other])
    assert [(run.seed, len(run.cases), run.identity) for run in found] == [
        (1, 7, whole.identity),
        (1, 7, whole.identity),
        (2, 7, whole.identity),
        (1, 7, other[0].identity),
    ]


def test_missing_and_repeated_folds_are_refused(whole):
    one, two, three = folds_of(whole)
    assert complete([whole, one, two]) == [whole]
    assert [run.path.name for run in complete([one, two, three])] == ["fold1", "fold2", "fold3"]
    with pytest.raises(UserError) as error:
        pooled([one, three, replace(three, path=Path("again"))])
    assert "no fold 2 of 3" in problems_of(error)
    assert "a fold is given more than once" in problems_of(error)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": 90}, "the folds differ in their steps"),
        ({"unit": "voxel"}, "the folds differ in their unit of distances"),
        ({"class_names": ("one", "three")}, "the folds differ in their classes"),
        ({"cases": ("case00", "case05")}, "cases are in several folds"),
    ],
)
def test_folds_that_do_not_belong_together_are_refused(whole, change, told):
    one, two, three = folds_of(whole)
    with pytest.raises(UserError) as error:
        pooled([one, replace(two, **change), three])
    assert told in problems_of(error)
