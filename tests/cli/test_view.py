"""Tests of ``crossview view`` up to its server: the cases, their order, and wrong input."""

import json
from pathlib import Path
from threading import Thread
from urllib.request import urlopen

import numpy as np
import pytest
from tests.helpers.command import crossview
from tests.helpers.made_folder import make_folder, scan, write_nifti, write_picture

from crossview.reporting.viewer.server import Server
from crossview.runs.view.view import view

TINY = (
    "network.filters=2",
    "network.levels=2",
    "training.precision=float32",
    "data.patch=[8,8,8]",
    "method.pretrain_steps=1",
    "method.train_steps=1",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A CML run whose test cases are scored, and whose unlabelled ones are ranked."""
    import crossview as package

    root = tmp_path_factory.mktemp("view")
    make_folder(root / "scans", labelled=4, unlabelled=2)
    (root / "scans" / "split.toml").write_text('test = ["case02", "case03"]\n')
    package.train("folder", root / "scans", root / "run", overrides=TINY)
    package.evaluate(root / "run")
    package.suggest(root / "run", count=1)
    inputs = [root / "scans" / "images" / f"case{number:02}.nii.gz" for number in (4, 5)]
    package.predict(root / "run", inputs, root / "predictions", entropy=True)
    return root


def opened(server: Server, index: int) -> dict:
    return server.gallery.opened(index).facts()


def names(server: Server) -> list[str]:
    return [case.name for case in server.gallery.cases]


def test_the_worst_cases_of_a_run_come_first(trained):
    import csv

    rows = csv.DictReader((trained / "run" / "evaluation" / "test" / "cases.csv").open())
    dice: dict[str, list[float]] = {}
    for row in rows:
        if not row["view"]:
            dice.setdefault(row["case"], []).append(float(row["dice"] or 0))
    worst_first = sorted(dice, key=lambda case: (np.mean(dice[case]), case))
    with view(trained / "run") as server:
        assert names(server) == worst_first
        assert server.gallery.order == "worst Dice first"
        layers = [layer["name"] for layer in opened(server, 0)["layers"]]
        told = server.gallery.waiting
        assert (told.index, told.done) == (0, told.total)
        assert told.total > 0
    assert layers == [
        *("scan", "label", "prediction", "errors", "view1", "view2", "entropy", "disagreement")
    ]


def test_unlabelled_scans_come_by_doubt_and_have_no_label(trained):
    doubt = json.loads((trained / "run" / "suggest" / "suggest.json").read_text())["doubt"]
    with view(trained / "run", split="unlabelled") as server:
        assert names(server) == sorted(doubt, key=lambda case: -doubt[case])
        assert server.gallery.order == "most doubtful first"
        assert "label" not in [layer["name"] for layer in opened(server, 0)["layers"]]


def test_named_cases_keep_their_order(trained):
    with view(trained / "run", ["case03", "case00", "case03"]) as server:
        assert names(server) == ["case03", "case00"]


def test_predictions_show_what_was_written(trained):
    with view(trained / "predictions", scans=trained / "scans" / "images") as server:
        assert sorted(names(server)) == ["case04", "case05"]
        assert server.gallery.order == "most doubtful first"
        scores = [case.score for case in server.gallery.cases]
        assert scores == sorted(scores, reverse=True)
        layers = [layer["name"] for layer in opened(server, 0)["layers"]]
        assert layers == ["scan", "prediction", "entropy"]


def test_predictions_with_labels_come_by_dice(tmp_path):
    for number in range(2):
        image, label = scan(number)
        wrong = np.where(label == 2, 0, label) if number else label
        write_nifti(tmp_path / "images" / f"case{number}_0000.nii.gz", image)
        write_nifti(tmp_path / "labels" / f"case{number}.nii.gz", label)
        write_nifti(tmp_path / "found" / f"case{number}.nii.gz", wrong.astype(np.uint8))
    folders = {name: tmp_path / name for name in ("labels",)}
    with view(tmp_path / "found", scans=tmp_path / "images", **folders) as server:
        facts = [(case.name, case.facts) for case in server.gallery.cases]
        assert facts == [("case1", "Dice 50.00 %"), ("case0", "Dice 100.00 %")]
        missed = opened(server, 0)["layers"][-1]
        assert (missed["name"], [key[1] for key in missed["keys"]]) == ("errors", ["missed"])


def test_pictures_and_their_masks(tmp_path):
    write_picture(tmp_path / "images" / "a.png", np.full((6, 4, 3), (9, 8, 7), np.uint8))
    mask = np.zeros((6, 4), np.uint8)
    mask[1, 2] = 1
    write_picture(tmp_path / "found" / "a.png", mask)
    with view(tmp_path / "found", scans=tmp_path / "images") as server:
        facts = opened(server, 0)
    assert facts["flat"] is True
    assert [layer["name"] for layer in facts["layers"]] == ["image", "prediction"]
    assert facts["centre"] == (2, 4, 0)  # x to the right, y upwards


def problems(capsys, *arguments) -> str:
    code, _, err = crossview(capsys, "view", *arguments)
    assert code == 2
    return err


def test_wrong_input_is_named_with_its_remedy(capsys, trained, tmp_path):
    run, predictions = trained / "run", trained / "predictions"
    images = trained / "scans" / "images"
    text = problems(capsys, run, "case99", "cas")
    assert text.count("there is no such case") == 2
    assert "did you mean" in text
    assert "unknown split 'tset'" in problems(capsys, run, "--split", "tset")
    assert "--split test or unlabelled" in problems(capsys, run, "--split", "validation")
    assert "add --scans DIR" in problems(capsys, predictions)
    assert "no such prediction" in problems(capsys, predictions, "x", "--scans", images)
    assert "--scans can only be used with a folder" in problems(capsys, run, "--scans", images)
    text = problems(capsys, predictions, "--scans", images, "--split", "test")
    assert "--split can only be used with a run" in text
    (tmp_path / "empty").mkdir()
    text = problems(capsys, tmp_path / "empty", "--scans", images)
    assert "neither a run folder nor a folder of predictions" in text
    text = problems(capsys, predictions, "--scans", tmp_path / "empty")
    assert "the folder contains no scans" in text
    assert "no such folder" in problems(capsys, tmp_path / "none", "--scans", images)


def test_a_run_without_weights_has_no_predictions(capsys, trained, tmp_path):
    import shutil

    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "last.pt").unlink()
    text = problems(capsys, tmp_path / "run")
    assert "no weights yet" in text
    assert "train" in text
    assert "--resume" in text


def test_the_command_serves_until_it_is_stopped(capsys, monkeypatch, trained):
    """The printed address works; Ctrl-C ends the command without an error."""
    answers = []

    def serve(server):
        Thread(target=lambda: Server.handle_request(server), daemon=True).start()
        answers.append(urlopen(server.address, timeout=10).status)
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", serve)
    code, out, err = crossview(capsys, "view", trained / "run", "case02")
    assert (code, answers) == (0, [200])
    assert "http://127.0.0.1:" in out
    assert err.rstrip().endswith("ended")
