"""A process that is killed is spoken for; one that ends by itself is not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossview.core import watchdog

BEGIN = """
import os, signal, sys
from crossview.core.watchdog import start_watchdog, dismiss_watchdog, exit_now
sys.argv = ["crossview", "train", "secret-name"]
start_watchdog()
"""

COMMAND = [sys.executable, "-m", "crossview"]


def ended(program, **environment):
    """Run a program of a process with a watchdog; return its exit code, output and errors."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS"])
def test_a_process_that_is_killed_is_spoken_for(name):
    code, out, said = ended(f"os.kill(os.getpid(), signal.{name})")
    assert (code, out) == (-getattr(signal, name), "")
    assert said.startswith("error: crossview train: ended without a message\n  found:    killed")
    assert "\n  fix:" in said
    assert "--resume" in said
    assert said.count("\n") == 3


def test_a_rank_is_named():
    assert "crossview train, rank 3:" in ended("os.kill(os.getpid(), 9)", RANK="3")[2]


def test_processes_of_gpus_are_watched_by_their_launcher():
    code = "os.kill(os.getpid(), 9)"
    assert ended(code, **{watchdog.LAUNCHER: "1"}) == (-9, "", "")


@pytest.mark.parametrize(
    ("program", "code"),
    [("dismiss_watchdog(); sys.exit(3)", 3), ("exit_now(5)", 5), ("dismiss_watchdog()", 0)],
)
def test_a_process_that_ends_by_itself_is_not_spoken_for(program, code):
    assert ended(program) == (code, "", "")


@pytest.mark.parametrize("name", watchdog.UNHEARD)
def test_the_watchdog_outlives_signals_to_the_whole_group(name):
    program = f"""
signal.signal(signal.{name}, signal.SIG_IGN)
os.setpgid(0, 0)
watchdog = int(open(f"/proc/self/task/{{os.getpid()}}/children").read())
os.setpgid(watchdog, os.getpid())
os.killpg(0, signal.{name})
os.kill(os.getpid(), 9)
"""
    assert "ended without a message" in ended(program)[2]


def test_a_reader_of_the_output_does_not_wait_for_the_watchdog():
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN + "os.close(1)\nsignal.pause()"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.read() == b""  # at its end while the process still runs
        assert process.poll() is None
        process.kill()


def test_a_watchdog_that_was_killed_is_not_missed():
    program = """
os.kill(int(open(f"/proc/self/task/{os.getpid()}/children").read()), 9)
os.wait()
dismiss_watchdog()
"""
    assert ended(program) == (0, "", "")


def test_a_kill_for_lack_of_memory_is_named(monkeypatch):
    monkeypatch.setattr(watchdog, "_killed_for_memory", lambda: 4)
    assert "because memory ran out" in watchdog._report(3)
    assert "because memory ran out" not in watchdog._report(4)


@pytest.mark.parametrize(
    ("words", "code"), [(["--version"], 0), (["train"], 2), (["check", "no/such/folder"], 2)]
)
def test_the_command_ends_without_the_watchdogs_word(words, code):
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "without a message" not in done.stderr


def test_a_killed_training_says_so(tmp_path):
    words = ["train", "demo", "--out", str(tmp_path / "run")]
    log = tmp_path / "log.txt"
    with log.open("w") as file, subprocess.Popen([*COMMAND, *words], stderr=file) as process:
        while not Path(tmp_path / "run" / "recipe.toml").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    end = time.monotonic() + 30
    while "ended without a message" not in log.read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
