"""A run that was stopped goes on exactly as if it had not been."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from tests.helpers.small_run import SMALL, assert_bit_equal, small

from crossview.core.journal import read_journal
from crossview.runs.run import Run
from crossview.training import checkpoint
from crossview.training.loop import Training


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing interrupted."""
    return small(tmp_path_factory.mktemp("runs") / "whole")


@pytest.mark.parametrize("stopped_after", range(7))
def test_a_run_resumed_at_any_step_is_bit_equal(whole, tmp_path, stopped_after):
    small(tmp_path / "run", max_steps=stopped_after)
    run = small(tmp_path / "run", resume=True)
    assert_bit_equal(whole, run)
    rows = [
        row
        for row in read_journal(run.path / "journal.jsonl")
        if row["kind"] in ("stage", "step", "finished")
    ]
    expected = [
        row
        for row in read_journal(whole.path / "journal.jsonl")
        if row["kind"] in ("stage", "step", "finished")
    ]
    assert [(row["kind"], row["total_step"]) for row in rows] == [
        (row["kind"], row["total_step"]) for row in expected
    ]


def test_a_signal_while_a_stage_starts_lets_its_first_step_run(whole, tmp_path, monkeypatch):
    """So a resume does not start the stage again, from other weights if it selects them."""
    start, begun = Training.start_stage, []

    def interrupted(training, index, stage):
        start(training, index, stage)
        begun.append(index)
        if begun == [0, 1]:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Training, "start_stage", interrupted)
    stopped = small(tmp_path / "run")
    assert stopped.journal.total_step == 4
    assert_bit_equal(whole, small(tmp_path / "run", resume=True))
    assert begun == [0, 1]


@pytest.mark.parametrize("workers", [0, 3])
def test_the_number_of_workers_changes_nothing(whole, tmp_path, workers):
    small(tmp_path / "run", f"training.workers={workers}", max_steps=2)
    assert_bit_equal(whole, small(tmp_path / "run", "training.workers=1", resume=True))


def test_scoring_does_not_disturb_training(tmp_path):
    often = small(
        tmp_path / "often", "data.labelled=5", "data.validation=1", "training.evaluate_every=1"
    )
    never = small(
        tmp_path / "never", "data.labelled=5", "data.validation=1", "training.evaluate_every=100"
    )
    assert_bit_equal(often, never)
    kinds = [row["kind"] for row in read_journal(often.path / "journal.jsonl")]
    assert kinds.count("validation") == 7


def test_pictures_and_the_journal_do_not_disturb_training(whole, tmp_path):
    run = small(tmp_path / "run", "training.picture_every=1", "training.log_every=1")
    assert_bit_equal(whole, run)
    assert len(list((run.path / "pictures").glob("*.png"))) == 7


def test_a_finished_run_stays_as_it_is(whole, tmp_path):
    run = small(tmp_path / "run")
    before = (run.path / "journal.jsonl").read_bytes()
    small(tmp_path / "run", resume=True)
    assert (run.path / "journal.jsonl").read_bytes() == before
    assert_bit_equal(whole, run)


def command(out, *sets):
    sets = [part for text in (*SMALL, *sets) for part in ("--set", text)]
    return [sys.executable, "-m", "crossview", "train", "demo", "--out", str(out), *sets]


def wait_for_step(out, step):
    """Until the journal tells of ``step``."""
    for _ in range(600):
        if any(
            row["kind"] == "step" and row["total_step"] >= step
            for row in read_journal(out / "journal.jsonl")
        ):
            return
        time.sleep(0.05)
    raise TimeoutError


LONG = ("method.pretrain_steps=20", "method.train_steps=400", "training.log_every=1")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_resumes_bit_equal(tmp_path, number):
    out = tmp_path / "killed"
    process = subprocess.Popen(command(out, *LONG), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for_step(out, 30)
    process.send_signal(number)
    printed, told = process.communicate(timeout=60)
    expected = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert process.returncode == expected, told.decode()
    if number != signal.SIGKILL:
        assert b"--resume" in printed
    reached = checkpoint.read(out / "checkpoints" / "last.pt")["position"]["total_step"]
    assert 29 <= reached < 420  # a kill may fall between the journal and the checkpoint of step 30
    resumed = small(out, *LONG, resume=True, max_steps=reached + 5)
    assert_bit_equal(small(tmp_path / "whole", *LONG, max_steps=reached + 5), resumed)


def test_a_kill_between_the_two_checkpoints_is_mended(tmp_path):
    sets = (
        "data.labelled=5",
        "data.validation=1",
        "training.evaluate_every=1",
        "training.selection=validation",
    )
    whole = small(tmp_path / "whole", *sets)
    run = small(tmp_path / "run", *sets, max_steps=1)
    selected = run.path / "checkpoints" / "selected.pt"
    assert selected.exists()
    selected.unlink()  # as if the kill had come right after last.pt
    assert_bit_equal(whole, small(run.path, *sets, resume=True))
    one, other = (
        checkpoint.read(each.path / "checkpoints" / "selected.pt") for each in (whole, run)
    )
    assert one["position"]["best_step"] == other["position"]["best_step"]


def test_selection_keeps_the_best_scored_weights(tmp_path):
    sets = (
        "data.labelled=5",
        "data.validation=1",
        "training.evaluate_every=1",
        "training.selection=validation",
        "method.train_steps=8",
    )
    run = small(tmp_path / "run", *sets)
    rows = [
        row
        for row in read_journal(run.path / "journal.jsonl")
        if row["kind"] == "validation" and row["stage"] == "train"
    ]
    best = max(rows, key=lambda row: row["mean"])
    position = checkpoint.read(run.path / "checkpoints" / "selected.pt")["position"]
    assert position["stage"] == 1
    assert position["best_score"] == best["mean"]
    assert position["step"] == next(row["step"] for row in rows if row["mean"] == best["mean"])


def test_the_environment_is_recorded(whole):
    environment = json.loads((whole.path / "environment.json").read_text())
    assert environment["labelled"] == [f"phantom_train_{number:03d}" for number in range(4)]
    assert environment["threads"] > 0
    assert environment["torch"]
    assert os.path.exists(whole.path / "model.pt")
    assert Run.open(whole.path).finished
