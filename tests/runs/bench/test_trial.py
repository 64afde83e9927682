"""`crossview trial` as a user runs it: which method to use, or that nothing can tell."""

import csv
import io
import json
from types import SimpleNamespace

import pytest
from tests.helpers.command import crossview, sets
from tests.helpers.made_folder import make_folder

from crossview.evaluation.bootstrap import Difference
from crossview.runs.bench import trial

SMALL = sets(
    "data.patch=[8,8,8]",
    "network.levels=2",
    "network.filters=2",
    "training.precision=float32",
    "method.ready_dice=0.0",
    "training.log_every=1",
)
SHORT = ("--steps", "4", "--folds", "2", "--seeds", "1", *SMALL)


def test_both_are_tried_for_the_same_time_on_every_labelled_case(capsys, tmp_path):
    scans = make_folder(tmp_path / "scans", labelled=6, unlabelled=3)
    command = ("trial", scans, "--out", tmp_path / "out", *SHORT)
    code, text, error = crossview(capsys, *command)
    assert code == 0, error
    assert "can't know from one seed" in text
    rows = {
        row["method"]: row
        for row in csv.DictReader(io.StringIO((tmp_path / "out" / "compare.csv").read_text()))
    }
    assert list(rows) == ["cml", "supervised"]
    assert {row["predictions"] for row in rows.values()} == {"12"}, "six cases of two classes"
    assert rows["cml"]["steps"] == "4"
    runs = tmp_path / "out" / "trial"
    tested = set()
    for fold in (1, 2):
        of_fold = [
            json.loads((runs / f"{row}-seed1-fold{fold}" / "environment.json").read_text())
            for row in rows
        ]
        assert of_fold[0]["labelled"] == of_fold[1]["labelled"]
        assert [each["unlabelled"] for each in of_fold] == [3, 0]
        tested |= {f"case{number:02d}" for number in range(6)} - {*of_fold[0]["labelled"]}
    assert len(tested) == 6
    stamps = {path: path.stat().st_mtime_ns for path in runs.rglob("model.pt")}
    assert len(stamps) == 5, "one more run, for the pace"
    code, text, _ = crossview(capsys, *command)
    assert (code, "4 of 4 runs are done" in text) == (0, True)
    assert stamps == {path: path.stat().st_mtime_ns for path in runs.rglob("model.pt")}
    code, _, error = crossview(capsys, *command, "--set", "data.patch=[4,4,4]")
    assert (code, "a trial with another plan" in error) == (2, True)


def test_too_few_patients_cannot_tell(capsys, tmp_path):
    """Seven scans of five patients are five; and nothing is written."""
    scans = make_folder(tmp_path / "scans", labelled=7, unlabelled=2)
    (scans / "split.toml").write_text(
        '[patient]\ncase00 = "a"\ncase01 = "a"\ncase02 = "b"\ncase03 = "b"\n'
    )
    code, text, _ = crossview(capsys, "trial", scans, "--out", tmp_path / "out", *SHORT)
    assert code == 0
    assert "can't know: 5 labelled patients" in text
    assert "Nothing was trained" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--folds", "7"), "7 folds for 6 labelled patients"),
        (("--set", "method.name=supervised"), "against itself"),
        (("--set", "data.labelled=9"), "more labelled cases than the data has"),
    ],
)
def test_what_cannot_be_tried_is_refused(capsys, tmp_path, more, told):
    scans = make_folder(tmp_path / "scans", labelled=6, unlabelled=2)
    code, _, error = crossview(capsys, "trial", scans, "--out", tmp_path / "out", *SHORT, *more)
    assert (code, told in error) == (2, True), error
    assert not (tmp_path / "out").exists()


def answered(verdict, *stages):
    return SimpleNamespace(
        difference=Difference(0.021, 0.005, 0.037, 0.01),
        verdict=verdict,
        p=0.01,
        is_baseline=False,
        runs=[SimpleNamespace(stages=each) for each in stages],
    )


@pytest.mark.parametrize(
    ("verdict", "begin"),
    [
        ("better", "use cml: Dice +2.10 [+0.50, +3.70] points"),
        ("worse", "use supervised (--set method.name=supervised): cml does harm"),
        ("no difference shown", "no difference shown: cml has Dice +2.10"),
        ("one seed", "can't know from one seed"),
    ],
)
def test_the_answer_follows_the_verdict(verdict, begin):
    answer = trial._answer([answered(verdict)], "cml", 12)
    assert answer.startswith(begin)
    assert "[+0.50, +3.70]" in answer
    assert "12 labelled patients" in answer


def test_runs_that_used_no_unlabelled_scan_answer_nothing():
    rows = [answered("worse", "", ""), answered("worse", "labelled stage only")]
    answer = trial._answer(rows, "cml", 12)
    assert answer.startswith("can't know: in some runs of cml, or in all, the labelled stage")
    assert "the unlabelled scans were not used" in answer
