"""Tests of ``crossview suggest``, from a run to the scans to label next."""

import json
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers.command import crossview
from tests.helpers.made_folder import make_folder

TINY = (
    "network.filters=2",
    "training.precision=float32",
    "data.patch=[16,16,16]",
    "method.pretrain_steps=1",
    "method.train_steps=1",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("suggest")
    make_folder(root / "scans", labelled=2, unlabelled=5)
    from crossview.runs.train import train

    for name, more in (("cml", ()), ("supervised", ("method.name=supervised", "method.steps=2"))):
        texts = TINY[:3] if more else TINY
        train("folder", root / "scans", root / name, overrides=[*more, *texts])
    return root


@pytest.mark.parametrize("method", ["cml", "supervised"])
def test_unlabelled_scans_are_named_and_drawn(capsys, trained, method):
    code, out, _ = crossview(capsys, "suggest", trained / method, "-n", 3)
    assert code == 0
    stored = json.loads((trained / method / "suggest" / "suggest.json").read_text())
    named = [each["case"] for each in stored["suggestions"]]
    assert len(set(named)) == 3
    assert set(named) <= {f"case{number:02}" for number in range(2, 7)}
    assert all(name in out for name in named)
    assert sorted(stored["doubt"]) == [f"case{number:02}" for number in range(2, 7)]
    doubts = list(stored["doubt"].values())
    assert doubts == sorted(doubts, reverse=True)
    assert stored["suggestions"][0]["score"] == doubts[0]
    with Image.open(trained / method / "suggest" / "suggest.png") as sheet:
        assert sheet.height > 3 * 300


def test_more_than_there_are(capsys, trained):
    code, out, err = crossview(capsys, "suggest", trained / "cml", "-n", 99)
    assert code == 0
    assert "the data set has only 5 unlabelled scans; all are listed" in err
    assert sum(f"case{number:02}" in out for number in range(2, 7)) == 5
    assert "doubt need not fall from row to row" in " ".join(out.split())
    _, out, err = crossview(capsys, "suggest", trained / "cml", "-n", 99, "--json")
    assert len(json.loads(out)) == 5
    assert "only" not in crossview(capsys, "suggest", trained / "cml", "-n", 5)[2]


def test_for_programs_and_into_another_folder(capsys, trained, tmp_path):
    code, out, _ = crossview(
        capsys, "suggest", trained / "cml", "-n", 1, "--json", "--out", tmp_path / "next"
    )
    assert code == 0
    (suggestion,) = json.loads(out)
    assert suggestion["rank"] == 1
    assert Path(suggestion["file"]).exists()
    assert (tmp_path / "next" / "suggest.png").exists()


def test_the_labels_of_the_unlabelled_play_no_part(capsys, trained, tmp_path):
    scans = tmp_path / "scans"
    make_folder(scans, labelled=7, unlabelled=0)
    (scans / "split.toml").write_text('labelled = ["case00", "case01"]\n')
    crossview(capsys, "suggest", trained / "cml", "-n", 2)
    before = json.loads((trained / "cml" / "suggest" / "suggest.json").read_text())["doubt"]
    code, _, err = crossview(
        capsys, "suggest", trained / "cml", "--data", scans, "--out", tmp_path / "out"
    )
    assert code == 0, err
    assert json.loads((tmp_path / "out" / "suggest.json").read_text())["doubt"] == before


def test_a_set_without_unlabelled_scans(capsys, trained, tmp_path):
    make_folder(tmp_path / "all", labelled=3, unlabelled=0)
    code, _, err = crossview(
        capsys, "suggest", trained / "cml", "--data", tmp_path / "all", "--out", tmp_path / "out"
    )
    assert code == 2
    assert "every scan of this data set is labelled" in err
    assert not (tmp_path / "out").exists()
