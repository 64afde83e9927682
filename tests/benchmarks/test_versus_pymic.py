"""PyMIC gets the data and a config in its own form, and its predictions get rows of a table."""

import configparser
import json
import sys
from types import SimpleNamespace

import pytest

from benchmarks import beside, versus_pymic

SIDE = """#!/bin/sh
# Stands for the Python of PyMIC's environment: "predicts" the true labels.
[ "$1" = -c ] && exit 0
here=$(dirname "$3")
echo "noise of the program"
if [ "$2" = train ]; then
  echo "{\\"seconds\\": $4, \\"iterations\\": 3}"
else
  mkdir -p "$here/predictions" && cp DATA/labels/* "$here/predictions" && echo "{}"
fi
"""


@pytest.fixture
def asked(tmp_path, monkeypatch, labels, save):
    """The command's words for data of a labelled, a validation, a test and an unlabelled scan."""
    truth, predicted = labels
    data, python = tmp_path / "data", tmp_path / "python"
    save(data / "images", [*truth, *truth], "lvtu")
    save(data / "labels", [*truth, predicted[1]], "lvt")
    (data / "split.toml").write_text('labelled = ["l"]\nvalidation = ["v"]\ntest = ["t"]\n')
    python.write_text(SIDE.replace("DATA", str(data)))
    python.chmod(0o755)
    ours = SimpleNamespace(
        path="ours",
        journal=SimpleNamespace(seconds=2.0),
        environment={"unlabelled": 1, "command": f"crossview train folder --data {data}"},
        tables={"data": {"classes": 3, "patch": [32, 48, 24]}},
    )
    monkeypatch.setattr(beside, "our_run", lambda *_: ours)
    scores = beside.score(data, data / "labels", ["t"], lambda label: label)
    monkeypatch.setattr(beside, "scores_of", lambda _run: scores)
    words = [data, tmp_path / "out", "--pymic", python, "--record", tmp_path / "record.json"]
    monkeypatch.setattr(sys, "argv", ["x", *map(str, words)])
    return ours


def run():
    beside.command("", "PyMIC", "pymic", versus_pymic.laid_out)


def test_pymic_has_a_row_for_each_time(tmp_path, asked, capsys):
    run()
    record = (tmp_path / "record.json").read_text()
    assert str(tmp_path) not in record, "a results file names no folder of the machine"
    rows = json.loads(record)["rows"]
    assert rows["PyMIC, 1 times the time"]["seconds"] == 2
    assert rows["PyMIC, 4 times the time"]["seconds"] == 8
    assert rows["PyMIC, 4 times the time"]["dice"]["mean"] == 1
    assert "| PyMIC, 4 times the time | 8 | 3 | 100.00 | 0.00 |  |" in capsys.readouterr().out

    here = tmp_path / "out" / "pymic" / "4"
    lists = {file.stem: file.read_text().split() for file in here.glob("*.csv")}
    assert lists == {
        "labelled": ["image,label", "images/l.nii.gz,labels/l.nii.gz"],
        "unlabelled": ["image", "images/u.nii.gz"],
        "test": ["image", "images/t.nii.gz"],
    }
    config = configparser.ConfigParser()
    config.read(here / "config.cfg")
    assert config["dataset"]["RandomCrop_output_size"] == "[24, 48, 32]", "PyMIC has z, y, x"
    assert config["dataset"]["train_csv_unlab"] == str(here / "unlabelled.csv")
    assert config["network"]["net_type"] == "[UNet3D, UNet3D]"


def test_other_unlabelled_scans_than_ours_are_refused(asked, capsys):
    asked.environment["unlabelled"] = 2
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    assert "other unlabelled scans" in capsys.readouterr().err
