"""Retraining with suggested and with drawn scans, on a small folder from end to end."""

import json
import sys
import threading
import tomllib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
import crossview
from benchmarks import relabel
from crossview.errors import UserError
from crossview.lock import locked
from made_folder import make_folder

KEYS = [
    "method.pretrain_steps=1",
    "method.train_steps=1",
    "data.patch=[8,8,8]",
    "network.filters=2",
    "training.precision=float32",
]


@pytest.fixture
def scans(tmp_path):
    """Seven scans with labels: two to test, the labels of all but two others hidden."""
    root = make_folder(tmp_path / "scans", labelled=7, unlabelled=0)
    (root / "split.toml").write_text(
        'labelled = ["case00", "case01", "case02", "case03", "case04"]\ntest = ["case05", "case06"]\n'
    )
    return root


def test_suggested_and_drawn_scans_are_labelled_and_the_runs_compared(
    tmp_path, monkeypatch, capsys, scans
):
    run, _ = crossview.train(
        "folder", scans, tmp_path / "run", overrides=[*KEYS, "data.labelled=2"]
    )
    monkeypatch.setattr(relabel, "RESULTS", tmp_path)
    monkeypatch.setattr(
        sys,
        "argv",
        ["relabel", str(run.path), str(scans), str(tmp_path / "out"), "-n", "1", "--draws", "2"],
    )
    relabel.main()
    found = json.loads((tmp_path / "relabel-folder-run.json").read_text())
    assert (found["labelled_before"], found["labelled_after"], set(found["dice"])) == (
        2,
        3,
        {"suggested", "draw1", "draw2"},
    )
    for name, (added,) in found["variants"].items():
        labelled = tomllib.loads((tmp_path / "out" / "scans" / name / "split.toml").read_text())[
            "labelled"
        ]
        assert labelled == ["case00", "case01", added]
        assert crossview.Run.open(tmp_path / "out" / name).environment["labelled"] == labelled
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("last.pt")}
    relabel.main()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("last.pt")} == before
    assert not (run.path / "suggest").exists()

    (tmp_path / "out" / "draw2" / "evaluation" / "test" / "summary.json").unlink()
    held, done = threading.Event(), threading.Event()

    def hold():
        with locked(tmp_path / "out" / "scans" / "draw2"):
            held.set()
            done.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(60)
    with pytest.raises(SystemExit, match="left to another process"):
        relabel.main()
    done.set()
    other.join()
    relabel.main()


def test_scans_without_a_hidden_label_are_told(tmp_path, scans):
    for number in (2, 3, 4):
        (scans / "labels" / f"case0{number}.nii.gz").unlink()
    (scans / "split.toml").write_text(
        'labelled = ["case00", "case01"]\ntest = ["case05", "case06"]\n'
    )
    run, _ = crossview.train("folder", scans, tmp_path / "run", overrides=KEYS)
    with pytest.raises(UserError, match="no label to uncover"):
        relabel.variants(run, scans, tmp_path / "suggest", 1, 2)
