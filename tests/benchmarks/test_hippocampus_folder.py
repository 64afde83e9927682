"""The folder of the suite ``hippocampus``, made of small files in the layout of the Decathlon."""

import sys
import tomllib
from pathlib import Path

import pytest
from benchmarks.hippocampus import HELD_OUT, main, make, split

from crossview.core.errors import UserError
from crossview.runs.bench.suite import load_suite

NAMES = [f"hippocampus_{number:03d}" for number in range(1, 201)]


@pytest.fixture
def source(tmp_path):
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / "msd" / folder).mkdir(parents=True)
        for name in NAMES:
            (tmp_path / "msd" / folder / f"{name}.nii.gz").write_text(f"{folder} {name}")
    return tmp_path / "msd"


def names(folder: Path) -> set[str]:
    return {path.name.removesuffix(".nii.gz") for path in folder.iterdir()}


def test_only_labels_of_listed_cases_are_there(source, tmp_path):
    lists = make(source, tmp_path / "out")
    assert {key: len(listed) for key, listed in lists.items()} == {
        "labelled": 8,
        "validation": HELD_OUT,
        "test": HELD_OUT,
    }
    assert tomllib.loads((tmp_path / "out" / "split.toml").read_text()) == lists
    assert names(tmp_path / "out" / "images") == set(NAMES)
    listed = {name for of_list in lists.values() for name in of_list}
    assert len(listed) == 8 + 2 * HELD_OUT, "no case is in two lists"
    assert names(tmp_path / "out" / "labels") == listed
    assert not (tmp_path / "out.part").exists()


def test_fewer_labelled_cases_are_the_first_of_more(source, tmp_path):
    made = {count: make(source, tmp_path / str(count), labelled=count) for count in (4, 8, 16)}
    whole = make(source, tmp_path / "all", all_labels=True)
    assert len(whole["labelled"]) == 158
    for count, lists in made.items():
        assert lists == {**whole, "labelled": whole["labelled"][:count]}
    assert names(tmp_path / "all" / "labels") == set(NAMES)


def test_the_draw_is_fixed():
    training, validation, test = split(NAMES[::-1])
    assert (training[:2], validation[0], test[0]) == (
        ["hippocampus_070", "hippocampus_024"],
        "hippocampus_005",
        "hippocampus_002",
    )
    assert sorted([*training, *validation, *test]) == NAMES


def test_the_bracket_of_the_suite_takes_all_of_them():
    [row] = [row for row in load_suite("hippocampus").methods if row.reference]
    assert f"data.labelled={len(split(NAMES)[0])}" in row.set


def test_links_or_copies(source, tmp_path):
    make(source, tmp_path / "links")
    make(source, tmp_path / "copies", copy=True)
    file = Path("images") / f"{NAMES[0]}.nii.gz"
    assert (tmp_path / "links" / file).is_symlink()
    assert not (tmp_path / "copies" / file).is_symlink()
    assert (tmp_path / "links" / file).read_text() == (tmp_path / "copies" / file).read_text()


def test_what_is_wrong_is_told_at_once_and_nothing_is_made(source, tmp_path, monkeypatch):
    (source / "labelsTr" / f"{NAMES[3]}.nii.gz").unlink()
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError) as error:
        make(source, tmp_path / "out")
    assert [problem.what for problem in error.value.problems] == [
        "a case has no label",
        "this is there already",
    ]
    assert not any((tmp_path / "out").iterdir())
    monkeypatch.setattr(
        sys, "argv", ["hippocampus", str(tmp_path / "nowhere"), str(tmp_path / "new")]
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert "too few cases" in str(stop.value.code)
    assert not (tmp_path / "new").exists()
