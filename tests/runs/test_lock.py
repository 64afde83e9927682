"""Tests that one process at a time works in a run folder, and that two suites share their runs."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest
from tests.cli.test_cli import TINY
from tests.helpers.command import crossview
from tests.helpers.tiny_suite import suite_file

from crossview.core import busy
from crossview.core.busy import LEASE, LOCK, worker
from crossview.runs import lock
from crossview.runs.lock import LockedError, locked

HOLDER = """
import sys, time
from pathlib import Path
from crossview.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder():
    """Hold the lock of a folder in another process, which is returned and killed at the end."""
    processes = []

    def hold(folder):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, folder], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_another_process_is_named_and_its_end_frees_the_folder(holder, tmp_path):
    process = holder(tmp_path)
    with pytest.raises(LockedError, match=f"process {process.pid} on "), locked(tmp_path):
        pass
    process.kill()
    process.communicate()
    assert (tmp_path / LOCK).exists(), "a killed process leaves its file, which locks nothing"
    with locked(tmp_path):
        assert f"process {os.getpid()} on " in (tmp_path / LOCK).read_text()
    assert not list(tmp_path.iterdir())


def test_a_live_run_is_not_told_to_be_resumed(holder, capsys, tmp_path):
    run = tmp_path / "run"
    train = ("train", "demo", "--out", run, *TINY)
    assert crossview(capsys, *train, "--max-steps", 1)[0] == 0
    stopped = (run / "report.html").read_text()
    assert "To resume it" in stopped
    process = holder(run)
    assert crossview(capsys, "report", run)[0] == 0
    page = (run / "report.html").read_text()
    assert f"still training (process {process.pid} on " in page
    assert "at step 1 of 3 when this page was written" in page
    assert "resume" not in page.partition("<h2>How to read")[0]
    err = crossview(capsys, "evaluate", run, "--cases", 1)[2]
    assert f"the run is still training (process {process.pid} on " in err
    assert "resume" not in err
    for command in (("compare", run), train):
        code, _, err = crossview(capsys, *command)
        assert code == 2
        assert "wait until it has finished" in err
        assert "resume" not in err
    process.kill()
    process.communicate()
    assert worker(run) == "", "a killed process leaves its file, which says nothing"
    assert "resume" in crossview(capsys, "compare", run)[2]


def test_the_own_work_is_no_other_process(tmp_path):
    with locked(tmp_path):
        assert worker(tmp_path) == ""


def test_a_thread_that_holds_it_may_ask_again_and_another_may_not(tmp_path):
    refused = []

    def ask():
        try:
            with locked(tmp_path):
                pass
        except LockedError as error:
            refused.append(error)

    with locked(tmp_path), locked(tmp_path):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert len(refused) == 1
    ask()
    assert len(refused) == 1


def test_folders_made_for_the_lock_alone_go_with_it(tmp_path):
    with locked(tmp_path / "a" / "b"):
        pass
    assert not (tmp_path / "a").exists()
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "mine").mkdir()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine"]


def test_waiting_for_whoever_holds_it(tmp_path):
    order = []

    def wait():
        with locked(tmp_path, wait=True):
            order.append("waited")

    with locked(tmp_path):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
        order.append("done")
    thread.join(timeout=10)
    assert order == ["done", "waited"]


@pytest.fixture(params=["a file system without locks", "Windows"])
def no_flock(request, monkeypatch):
    """Take flock away from this process; return lines that take it from another one."""
    lines = NO_FLOCK if request.param != "Windows" else NO_FCNTL
    for module in (busy, lock):
        monkeypatch.setattr(module, "fcntl", module.fcntl)
    with monkeypatch.context() as undone:
        undone.setattr(fcntl, "flock", fcntl.flock)
        exec(lines, {})
        yield lines


NO_FLOCK = """
import errno, fcntl
def flock(*_): raise OSError(errno.ENOLCK, "no locks available")
fcntl.flock = flock
"""

NO_FCNTL = """
from crossview.core import busy
from crossview.runs import lock
busy.fcntl = lock.fcntl = None
"""


def test_without_locks_a_lease_names_its_holder_and_ends_with_it(no_flock, tmp_path):
    code = no_flock + HOLDER
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    with pytest.raises(LockedError, match=f"process {process.pid} on "), locked(tmp_path):
        pass
    assert worker(tmp_path) == f"process {process.pid} on {socket.gethostname()}"
    assert [path.name for path in tmp_path.iterdir()] == [LEASE]
    process.kill()
    process.communicate()
    assert worker(tmp_path) == ""
    with locked(tmp_path), locked(tmp_path):
        assert worker(tmp_path) == ""
    assert not list(tmp_path.iterdir())
    with locked(tmp_path / "a" / "b"):
        pass
    assert not (tmp_path / "a").exists()


def test_a_lease_of_another_machine_is_kept(no_flock, tmp_path):
    (tmp_path / LEASE).write_text(
        "filelock/2\npid=1\nhost=elsewhere\nmode=lease\ntoken=0\nduration=900.0\n"
    )
    with pytest.raises(LockedError, match="process 1 on elsewhere"), locked(tmp_path):
        pass


def test_a_run_is_not_trained_twice_at_once(capsys, holder, tmp_path):
    run = tmp_path / "run"
    assert crossview(capsys, "train", "demo", "--out", run, *TINY, "--max-steps", 1)[0] == 0
    journal = (run / "journal.jsonl").read_bytes()
    process = holder(run)
    for how in ("--resume", "--overwrite"):
        code, out, err = crossview(capsys, "train", "demo", "--out", run, *TINY, how)
        assert (code, out) == (2, "")
        assert "another process works in this folder" in err
        assert f"process {process.pid}" in err
    assert (run / "journal.jsonl").read_bytes() == journal
    process.kill()
    process.communicate()
    assert crossview(capsys, "train", "demo", "--out", run, *TINY, "--resume")[0] == 0
    assert not (run / LOCK).exists()


def test_a_folder_in_which_a_run_is_being_prepared_is_taken(capsys, holder, tmp_path):
    process = holder(tmp_path / "run")
    code, _, err = crossview(capsys, "train", "demo", "--out", tmp_path / "run", *TINY)
    assert (code, "another process works" in err) == (2, True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]
    process.kill()
    process.communicate()
    code, _, err = crossview(capsys, "train", "demo", "--out", tmp_path / "run", *TINY)
    assert code == 0, err


def test_a_suite_leaves_a_run_to_the_process_that_is_at_it(capsys, holder, tmp_path):
    suite, run = suite_file(tmp_path), tmp_path / "out" / "tiny" / "supervised-seed1"
    process = holder(run)
    arguments = ("bench", suite, "--out", tmp_path / "out", "--seeds", 1)
    code, out, err = crossview(capsys, *arguments)
    assert code == 0, err
    assert (
        f"[1/3] supervised, seed 1: skipped, another process works on it (process {process.pid} on "
        in out
    )
    assert "[3/3] all labels, seed 1: Dice" in out
    assert "left to another process: 1 of 3 runs" in out
    process.kill()
    process.communicate()
    code, out, err = crossview(capsys, *arguments)
    assert code == 0, err
    assert "2 of 3 runs are done" in out
    assert "[1/3] supervised, seed 1: Dice" in out


def test_two_calls_share_the_runs_of_a_suite(capsys, tmp_path):
    suite, out = suite_file(tmp_path, ("total_steps = 4", "total_steps = 30")), tmp_path / "out"
    command = [sys.executable, "-m", "crossview", "bench", suite, "--out", out, "--seeds", "1"]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    runs = sorted(path.name for path in (out / "tiny").iterdir())
    assert runs == ["all-labels-seed1", "cml-labelled-only-seed1", "supervised-seed1"]
    for run in runs:
        rows = [
            json.loads(line)
            for line in (out / "tiny" / run / "journal.jsonl").read_text().splitlines()
        ]
        assert [row["kind"] for row in rows if row["kind"] in ("stage", "resumed", "finished")] == [
            "stage",
            "finished",
        ]
    assert len((out / "compare.csv").read_text().splitlines()) == 4
    assert not list(out.rglob("*.part")) + list(out.rglob(LOCK))
    assert (
        "3 of 3 runs are done" in crossview(capsys, "bench", suite, "--out", out, "--seeds", 1)[1]
    )


def test_a_lock_that_cannot_be_written_is_named(tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # as a full disk
    try:
        with pytest.raises(OSError, match="File too large") as error, locked(tmp_path / "run"):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.filename == str(tmp_path / "run" / "lock")
    assert not (tmp_path / "run").exists()
    with locked(tmp_path / "run"):
        pass
