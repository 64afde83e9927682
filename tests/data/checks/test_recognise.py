"""The source of a folder is recognised, and a check sees all labels."""

import pytest
from tests.helpers.made_folder import make_folder

from crossview.core.errors import UserError
from crossview.data.checks.dataset import recognise, whole


def test_layouts_are_recognised(tmp_path, make_la, make_acdc):
    assert recognise(make_la()) == "la"
    assert recognise(make_acdc()) == "acdc"
    assert recognise(make_folder(tmp_path / "own")) == "folder"
    (tmp_path / "brats").mkdir()
    (tmp_path / "brats/train.txt").touch()
    assert recognise(tmp_path / "brats") == "brats"
    with pytest.raises(UserError, match="the data folder does not exist"):
        recognise(tmp_path / "nowhere")


def count(data) -> dict[str, int]:
    return {role: len(cases) for role, cases in data.cases.items() if cases}


def test_published_sets_are_taken_with_every_label(make_la, make_acdc):
    la = whole("la", make_la())
    assert count(la) == {"labelled": 4, "test": 1}
    assert all(case.labelled for cases in la.cases.values() for case in cases)
    acdc = whole("acdc", make_acdc())
    assert count(acdc) == {"labelled": 18, "validation": 1, "test": 2}
    assert (acdc.classes, acdc.class_names[0]) == (4, "background")


def test_problems_of_lists_are_collected(make_la):
    root = make_la()
    (root / "test.list").unlink()
    data = whole("la", root)
    assert data.cases == {}
    assert "the list of cases can't be read" in str(data.problems[0])


def test_a_folder_is_taken_as_it_is_used(tmp_path):
    root = make_folder(tmp_path, labelled=4, unlabelled=2)
    (root / "split.toml").write_text('labelled = ["case00", "case01"]\ntest = ["case02"]\n')
    data = whole("folder", root)
    assert count(data) == {"labelled": 2, "hidden": 1, "unlabelled": 2, "test": 1}
    assert data.cases["hidden"][0].labelled
    assert (data.classes, data.problems) == (None, ())


def test_sources_without_files_and_unknown_ones(tmp_path):
    with pytest.raises(UserError, match="there are no files to check"):
        whole("phantom", tmp_path)
    with pytest.raises(UserError, match="unknown source"):
        whole("nifti", tmp_path)
