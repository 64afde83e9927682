"""Ctrl-C and SIGTERM before a verb works, while modules are imported, and after its work."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import crossview

SLOW = """
import os, signal
try:
    os.kill(os.getpid(), signal.{name})
    for _ in range(10 ** 6):
        pass
except BaseException:
    raise RecursionError("half made") from None  # numpy, whose __getattr__ imports once more
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("module", ["typer", "numpy", "scipy"])
def test_an_import_that_is_interrupted_ends_the_command_quietly(tmp_path, module, name, code):
    (tmp_path / f"{module}.py").write_text(SLOW.format(name=name))
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "crossview", "train", "demo", "--out", tmp_path / "run"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        # a job in the background, which these tests may be, ignores Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert not Path(tmp_path / "run").exists()


def test_an_ignored_ctrl_c_stays_ignored():
    """A shell starts background commands so; nohup does it for SIGHUP."""
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from crossview.core.signals import end_on_signals; end_on_signals()\n"
        "assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


IMPORTED_BEFORE = """
import sys
import crossview.__main__
print(sorted(name for name in sys.modules if name.startswith("crossview")))
print("dataclasses" in sys.modules, "importlib.metadata" in sys.modules)
"""


def test_nearly_nothing_is_imported_before_signals_are_heeded():
    done = subprocess.run(
        [sys.executable, "-S", "-c", IMPORTED_BEFORE],
        env={**os.environ, "PYTHONPATH": str(Path(crossview.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    names, heavy = done.stdout.splitlines()
    assert names == str(
        [
            "crossview",
            "crossview.__main__",
            "crossview.core",
            "crossview.core.signals",
            "crossview.core.watchdog",
        ]
    )
    assert heavy == "False False"


AT_EXIT = """
import atexit, os, signal, sys
def clean_up():
    try:
        os.kill(os.getpid(), signal.{name})
        for _ in range(10 ** 6):
            pass
    finally:
        print("not ended", file=sys.stderr)
atexit.register(clean_up)
from crossview.__main__ import main
sys.argv = ["crossview", "--version"]
main()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_after_the_work_loses_no_output_and_prints_nothing(name, code):
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT.format(name=name)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith("crossview ")
