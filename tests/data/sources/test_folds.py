"""Folds of the labelled cases: each case is tested once, and never next to its patient's scans."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.helpers.made_folder import make_folder, problems_of

from crossview.core.errors import UserError
from crossview.data import sources
from crossview.data.case import Case, Splits
from crossview.data.sources import acdc, folder
from crossview.data.sources.folds import of_fold


def case(name: str, patient: str, labelled: bool = True) -> Case:
    return Case(name, patient, Path(name), lambda: None, (lambda: None) if labelled else None)


def splits(labelled, unlabelled=()) -> Splits:
    """Return cases a0, a1, ... of the patients named, and one test case."""
    return Splits(
        tuple(case(f"a{number}", patient) for number, patient in enumerate(labelled)),
        tuple(case(f"u{number}", patient, False) for number, patient in enumerate(unlabelled)),
        validation=(case("v", "pv"),),
        test=(case("t", "pt"),),
        classes=2,
        class_names=("background", "one"),
    )


def ids(cases) -> list[str]:
    return [each.id for each in cases]


@given(
    labelled=st.lists(st.sampled_from("abcdefgh"), max_size=20),
    unlabelled=st.lists(st.sampled_from("abcdefghxyz"), max_size=8),
    folds=st.integers(2, 4),
)
def test_each_labelled_case_is_tested_once_and_never_trained_on(labelled, unlabelled, folds):
    every = splits([*"abcdefgh", *labelled], unlabelled)
    found = [of_fold(every, (number, folds)) for number in range(1, folds + 1)]
    assert sorted(name for each in found for name in ids(each.test)) == sorted(ids(every.labelled))
    sizes = [len({each.patient for each in fold.test}) for fold in found]
    assert max(sizes) - min(sizes) <= 1
    for fold in found:
        trained = {each.patient for each in (*fold.labelled, *fold.unlabelled)}
        assert not trained & {each.patient for each in fold.test}
        assert sorted(ids((*fold.labelled, *fold.test))) == sorted(ids(every.labelled))
        assert ids(fold.validation) == ["v"]
        kept = sorted(ids((*fold.unlabelled, *fold.unused)))
        assert kept == sorted([*ids(every.unlabelled), "t"])


def test_patients_are_dealt_in_turn():
    """By hand: patients a, b, c, d, e to three folds are a d, b e and c."""
    every = splits("aabcdec", unlabelled="ax")
    found = [of_fold(every, (number, 3)) for number in (1, 2, 3)]
    assert [ids(fold.test) for fold in found] == [["a0", "a1", "a4"], ["a2", "a5"], ["a3", "a6"]]
    assert [ids(fold.unlabelled) for fold in found] == [["u1"], ["u0", "u1"], ["u0", "u1"]]
    assert of_fold(every, ()) is every


def test_too_many_folds_and_too_few_cases_are_refused():
    with pytest.raises(UserError) as error:
        of_fold(splits("aabb"), (1, 3))
    assert "3 folds for 2 labelled patients" in problems_of(error)
    with pytest.raises(UserError) as error:
        of_fold(splits("aab"), (1, 2))
    assert "a fold leaves too few labelled cases to train on" in problems_of(error)


@pytest.mark.parametrize("fold", [(1,), (0, 3), (4, 3), (1, 1), (1, 2, 3)])
def test_a_fold_is_a_number_and_their_number(fold):
    with pytest.raises(ValidationError, match="fold: a number and the number of folds"):
        sources.find("phantom").Options(labelled=4, fold=fold)


def test_slices_of_acdc_make_no_folds():
    with pytest.raises(ValidationError, match="single slices"):
        acdc.Options(labelled=7, sampling="resize", augmentation="none", fold=(1, 3))


def test_a_users_folder_keeps_its_unlabelled_scans_in_every_fold(tmp_path):
    root = make_folder(tmp_path, labelled=4, unlabelled=2)
    options = folder.Options(
        patch=(4, 4, 4), classes=3, sampling="crop", augmentation="none", fold=(2, 2)
    )
    found = sources.find_splits(options, root)
    assert ids(found.test) == ["case01", "case03"]
    assert ids(found.labelled) == ["case00", "case02"]
    assert ids(found.unlabelled) == ["case04", "case05"]
    assert any("Cross-validation" in note for note in found.notes)
