"""`crossview bench` as a user runs it: tiny suites, stopped, killed, changed, failing."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.helpers.command import crossview
from tests.helpers.tiny_suite import suite_file

from crossview.runs.bench.suite import shipped_suites


def weights(run: Path):
    return torch.load(run / "checkpoints" / "last.pt", weights_only=True)["weights"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished bench, made by the command."""
    folder = tmp_path_factory.mktemp("bench")
    command = [
        sys.executable,
        "-m",
        "crossview",
        "bench",
        suite_file(folder),
        "--out",
        folder / "out",
    ]
    result = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"COLUMNS": "120"}
    )
    (folder / "printed.txt").write_text(result.stdout)
    return folder


@pytest.fixture
def copied(done, tmp_path):
    """The finished bench, to be spoilt."""
    shutil.copytree(done, tmp_path / "copy")
    return tmp_path / "copy"


def test_seeds_are_outermost_and_each_run_has_a_line(done):
    lines = [
        line for line in (done / "printed.txt").read_text().splitlines() if line.startswith("[")
    ]
    assert [line.split(":")[0] for line in lines] == [
        f"[{3 * (seed - 1) + place}/6] {label}, seed {seed}"
        for seed in (1, 2)
        for place, label in enumerate(("supervised", "cml labelled only", "all labels"), start=1)
    ]
    assert all("Dice " in line and " s" in line for line in lines)
    assert "left" in lines[0]
    assert "left" not in lines[-1]


def test_a_report_that_a_kill_left_behind_its_scores_is_written(copied, capsys):
    runs = sorted((copied / "out" / "tiny").iterdir())[:3]
    scored = (runs[0] / "evaluation/test/summary.json").stat().st_mtime
    reports = [run / "report.html" for run in runs]
    os.utime(reports[0], (scored - 1, scored - 1))  # killed before it was begun
    (runs[1] / "report.html.part").write_text("<ht")  # killed while it was written
    before = [report.stat().st_mtime_ns for report in reports]
    assert crossview(capsys, "bench", suite_file(copied), "--out", copied / "out")[0] == 0
    after = [report.stat().st_mtime_ns for report in reports]
    assert [old != new for old, new in zip(before, after, strict=True)] == [True, True, False]
    assert not list(copied.rglob("*.part"))
    assert "Dice" in reports[0].read_text()


def test_it_ends_in_the_table(done):
    text = (done / "printed.txt").read_text()
    assert "Dice against" in text
    assert "protocol equal" in text
    rows = list(csv.DictReader(io.StringIO((done / "out" / "compare.csv").read_text())))
    assert [
        (row["method"], row["seed"], row["setting"], row["protocol"], row["steps"]) for row in rows
    ] == [
        (label, seed, "tiny", "equal", "4")
        for seed in "12"
        for label in ("supervised", "cml labelled only", "all labels")
    ]
    assert [row["verdict"] for row in rows[:3]] == ["", "no difference shown", "reference"]
    assert rows[1]["baseline"] == "supervised"
    assert "differ in data.labelled" in (done / "out" / "compare.md").read_text()
    assert (done / "out" / "compare.html").read_text().count("<svg") >= 2
    assert not list((done / "out").rglob("*.part"))


def test_what_is_done_is_skipped(capsys, copied):
    stamps = {path: path.stat().st_mtime_ns for path in copied.rglob("model.pt")}
    code, out, _ = crossview(capsys, "bench", copied / "tiny.toml", "--out", copied / "out")
    assert (code, "6 of 6 runs are done" in out, "[1/6]" in out) == (0, True, False)
    assert "Dice against" in out
    assert stamps == {path: path.stat().st_mtime_ns for path in copied.rglob("model.pt")}


def test_a_part_of_a_suite_and_what_is_there_already(capsys, copied):
    shutil.rmtree(copied / "out" / "tiny" / "all-labels-seed2")
    code, out, _ = crossview(
        capsys, "bench", copied / "tiny.toml", "--out", copied / "out", "--dry-run"
    )
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 7)
    assert "5 of 6" in lines[0]
    assert "done, Dice" in lines[1]
    assert "to do" in lines[6]
    assert not (copied / "out" / "tiny" / "all-labels-seed2").exists()
    for part in (
        ["--only", "cml-labelled-only"],
        ["--only", "cml labelled only", "--seeds", "1"],
        ["--setting", "tiny", "--seeds", "1"],
    ):
        code, out, _ = crossview(
            capsys, "bench", copied / "tiny.toml", "--out", copied / "out", *part
        )
        assert code == 0
        assert "all labels" in out, "the table has every run that is done"
    assert not (copied / "out" / "tiny" / "all-labels-seed2").exists()


def test_stopped_killed_and_gone_on_with(capsys, done, tmp_path):
    """After Ctrl-C and SIGKILL, the result is bit-equal to that of a suite without a stop."""
    suite, out = suite_file(tmp_path, ("total_steps = 4", "total_steps = 40")), tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "crossview",
        "bench",
        suite,
        "--out",
        out,
        "--seeds",
        "1",
        "--only",
        "supervised",
    ]
    journal = out / "tiny" / "supervised-seed1" / "journal.jsonl"

    def until(steps: int) -> subprocess.Popen:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        while not journal.exists() or journal.read_text().count('"step"') < steps:
            assert process.poll() is None
            time.sleep(0.01)
        return process

    process = until(2)
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "run the same command to resume" in printed
    assert (
        "started, at step"
        in crossview(capsys, "bench", suite, "--out", out, "--seeds", 1, "--dry-run")[1]
    )
    process = until(journal.read_text().count('"step"') + 5)
    process.kill()
    process.communicate()
    code, printed, err = crossview(capsys, *command[3:])
    assert code == 0, err
    assert "0 of 1 runs are done" in printed
    whole = tmp_path / "whole"
    assert (
        crossview(capsys, "bench", suite, "--out", whole, "--seeds", 1, "--only", "supervised")[0]
        == 0
    )
    one, other = (weights(folder / "tiny" / "supervised-seed1") for folder in (out, whole))
    assert all(torch.equal(one[name], other[name]) for name in other)


def spoil_before_the_recipe(run):
    shutil.rmtree(run)
    (run / "checkpoints").mkdir(parents=True)
    (run / "environment.json.part").write_text("{")


def spoil_before_the_place(run):
    (run / "bench.json").unlink()


def spoil_before_the_test(run):
    (run / "evaluation" / "test").rename(run / "evaluation" / "test.part")


def spoil_before_the_model(run):
    spoil_before_the_place(run)
    (run / "model.pt").unlink()


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_before_the_recipe,
        spoil_before_the_place,
        spoil_before_the_test,
        spoil_before_the_model,
    ],
)
def test_whatever_a_kill_left_is_mended(capsys, done, copied, spoil):
    run = copied / "out" / "tiny" / "cml-labelled-only-seed1"
    spoil(run)
    code, out, err = crossview(capsys, "bench", copied / "tiny.toml", "--out", copied / "out")
    assert code == 0, err
    assert "5 of 6 runs are done" in out
    assert "[2/6] cml labelled only, seed 1: Dice" in out
    before, after = weights(done / "out" / "tiny" / run.name), weights(run)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (run / "model.pt").exists()
    assert json.loads((run / "bench.json").read_text())["label"] == "cml labelled only"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('"data.test=2"', '"data.test=3"'), ["data.test", "found:    3", "2, as in the run"]),
        (("total_steps = 4", "total_steps = 6"), ["method.steps", "method.pretrain_steps"]),
        (
            ('"training.log_every=1",', '"training.log_every=1", "training.momentum=0.5",'),
            ["training.momentum", "0.5", "0.9"],
        ),
    ],
)
def test_a_changed_suite_is_refused(capsys, copied, change, told):
    suite = suite_file(copied, change)
    stamps = {path: path.stat().st_mtime_ns for path in (copied / "out").rglob("*")}
    code, out, err = crossview(capsys, "bench", suite, "--out", copied / "out")
    assert (code, out) == (2, "")
    assert "has changed in the suite" in err
    assert "delete these folders" in err
    for words in (*told, "supervised-seed1"):
        assert words in err
    assert stamps == {path: path.stat().st_mtime_ns for path in (copied / "out").rglob("*")}


def test_a_changed_suite_is_noticed_in_a_run_that_was_killed(capsys, copied):
    run = copied / "out" / "tiny" / "supervised-seed1"
    (run / "bench.json").unlink()
    suite = suite_file(
        copied, ('"training.log_every=1",', '"training.log_every=1", "training.momentum=0.5",')
    )
    for _ in range(2):  # a refusal must leave nothing that the next call would take for consent
        code, _, err = crossview(
            capsys, "bench", suite, "--out", copied / "out", "--only", "supervised", "--seeds", 1
        )
        assert (code, "[training] momentum" in err) == (2, True)
    assert not (run / "bench.json").exists()


def test_what_may_change_may_change(capsys, copied):
    suite = suite_file(copied, ("training.log_every=1", "training.log_every=2"))
    assert crossview(capsys, "bench", suite, "--out", copied / "out")[0] == 0


def test_a_key_that_is_set_to_its_default_changes_nothing(capsys, copied):
    """As a suite must, when a key comes into being that its runs did not know yet."""
    suite = suite_file(
        copied, ('"training.log_every=1",', '"training.log_every=1", "data.foreground_share=0",')
    )
    code, out, err = crossview(capsys, "bench", suite, "--out", copied / "out", "--dry-run")
    assert (code, err) == (0, "")
    assert "to do" not in out


def test_a_failing_run_does_not_stop_the_others(capsys, tmp_path):
    supervised = '[[methods]]\nlabel = "supervised"'
    row = '[[methods]]\nlabel = "cml"\nname = "cml"\nset = ["data.unlabelled=0"]\n\n'
    suite = suite_file(tmp_path, (supervised, row + supervised), ("[1, 2]", "[1]"))
    code, out, err = crossview(
        capsys, "bench", suite, "--out", tmp_path / "out", "--only", "cml", "--only", "supervised"
    )
    assert code == 2
    assert "[1/2] cml, seed 1: failed: cml needs unlabelled cases" in out
    assert "[2/2] supervised, seed 1: Dice" in out
    assert "cml-seed1: [data]: cml needs unlabelled cases" in err
    assert "supervised,tiny,1,4" in (tmp_path / "out" / "compare.csv").read_text()


def test_a_run_trained_anew_by_hand_is_no_more_of_the_suite(capsys, copied):
    run = copied / "out" / "tiny" / "supervised-seed1"
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps(environment | {"started": "later"}))
    code, _, _ = crossview(capsys, "compare", run, "--out", copied / "table.csv")
    assert code == 0
    assert "supervised,demo,1" in (copied / "table.csv").read_text()
    assert (
        "5 of 6"
        in crossview(capsys, "bench", copied / "tiny.toml", "--out", copied / "out", "--dry-run")[1]
    )


@pytest.mark.parametrize(
    ("changes", "arguments", "told"),
    [
        ([], ["--only", "cml labeled only"], "did you mean cml labelled only"),
        ([], ["--setting", "small"], "the suite has no 'small'"),
        ([], ["--seeds", "3"], "1 to 2"),
        ([], ["--data", "nowhere"], "the data folder does not exist"),
        ([('name = "cml"', 'name = "clm"')], [], "did you mean cml"),
        ([('"network.filters=2"', '"network.filter=2"')], [], "did you mean filters"),
    ],
)
def test_what_can_not_be_run_is_told_before_anything_is_written(
    capsys, tmp_path, monkeypatch, changes, arguments, told
):
    monkeypatch.chdir(tmp_path)
    code, out, err = crossview(
        capsys, "bench", suite_file(tmp_path, *changes), "--out", "out", *arguments
    )
    assert (code, out, told in err) == (2, "", True), err
    assert not (tmp_path / "out").exists()


def test_somebody_elses_folder_in_the_way_is_left_alone(capsys, tmp_path):
    suite, mine = suite_file(tmp_path), tmp_path / "out" / "tiny" / "supervised-seed1"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("three years of work")
    code, out, err = crossview(
        capsys, "bench", suite, "--out", tmp_path / "out", "--only", "supervised", "--seeds", 1
    )
    assert (code, "supervised-seed1" in err) == (2, True), out
    assert (mine / "thesis.txt").exists()


def test_the_python_function(copied):
    import crossview as package

    result = package.bench(copied / "tiny.toml", copied / "out", seeds=1, only=["supervised"])
    assert len(result.runs) == 1
    assert (result.failed, result.stopped) == ({}, 0)
    assert [row.method for row in result.comparison.rows] == [
        "supervised",
        "cml labelled only",
        "all labels",
    ]


def test_suites_are_listed(capsys):
    assert json.loads(crossview(capsys, "list", "suites", "--json")[1]) == shipped_suites()
