"""Comparison with the official release, on a stand-in for its checkout and small made-up files."""

import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.contestants import contestants
from benchmarks.release import Backends, ReleaseLoop, load, release
from benchmarks.timing import run
from benchmarks.versus_pieces import compared, in_turn
from tests.helpers.made_release import write_release
from tests.helpers.small_shapes import SMALL_2D, SMALL_3D

from benchmarks import made, versus_official
from crossview.core.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def official(tmp_path):
    return write_release(tmp_path / "official")


@pytest.fixture
def data(tmp_path):
    made.write_la(tmp_path / "data" / "LA", shapes=((40, 36, 34),), cases=12, tests=2)
    made.write_acdc(tmp_path / "data" / "ACDC", shapes=((40, 36),), slices=50, patients=10)
    return tmp_path / "data"


def test_contestants_take_turns():
    order = []

    def turn(name):
        return lambda: order.append(name) or float(len(order))

    times = in_turn({"a": turn("a"), "b": turn("b"), "c": turn("c")}, 2)
    assert order == ["a", "b", "c", "a", "b", "c"]
    assert times == {"a": [1.0, 4.0], "b": [2.0, 5.0], "c": [3.0, 6.0]}


def test_a_ratio_is_of_each_turn():
    found = compared({"official": [2.0, 4.0, 30.0], "ours": [1.0, 1.0, 10.0]})
    ratio = found["official / ours"]
    assert (ratio["median"], ratio["min"], ratio["max"], ratio["of_totals"]) == (3.0, 2.0, 4.0, 3.0)
    assert found["seconds"]["official"]["median"] == 4.0


@pytest.mark.parametrize(("piece", "small"), [("la-step", SMALL_3D), ("acdc-step", SMALL_2D)])
def test_steps(program, official, data, piece, small):
    name = "ACDC" if piece == "acdc-step" else "LA"
    found = program(
        "versus_official",
        "--official",
        official,
        "--data",
        data,
        "--only",
        piece,
        "--repeats",
        2,
        sets=small,
    )[piece]
    assert (
        found["facts"]["ours float32"]["precision"]
        == found["facts"]["official"]["precision"]
        == "float32"
    )
    for who in ("official", "ours", "ours float32"):
        assert len(found["seconds"][who]["values"]) == 2
        assert found["seconds"][who]["min"] > 0
    for who in ("ours", "ours float32"):
        theirs, ours = found["seconds"]["official"]["values"], found["seconds"][who]["values"]
        expected = [a / b for a, b in zip(theirs, ours, strict=True)]
        assert found[f"official / {who}"]["values"] == pytest.approx(expected, rel=0.1)
    assert not multiprocessing.active_children(), "its workers are gone"
    assert f"CML_{name}_train" not in sys.modules


def test_the_other_pieces(program, official, data):
    words = ("--official", official, "--data", data, "--repeats", 2, "--windows", 2)
    both = program(
        "versus_official",
        *words,
        "--only",
        "components,la-inference",
        sets=(*SMALL_3D, "inference.stride=[4,4,2]"),
    )
    assert both["components"]["equal, clean"] is True
    assert both["components"]["equal, noisy"] is True
    assert both["la-inference"]["facts"]["official"]["windows"] == 2
    extrapolated = both["la-inference"]["seconds_all_test_volumes_extrapolated"]
    assert extrapolated["ours"] == pytest.approx(
        both["la-inference"]["seconds"]["ours"]["median"] / 2 * 1128, abs=0.1
    )
    slices = program("versus_official", *words, "--only", "acdc-inference", sets=SMALL_2D)
    assert slices["acdc-inference"]["facts"]["ours"]["windows"] == 4


def test_what_is_old_is_there_only_while_it_runs(official):
    cuda, path = torch.Tensor.cuda, list(sys.path)
    with release(official, CPU):
        sys.modules["imported_meanwhile"] = sys
        assert np.dtype(np.int) == np.dtype(int)
        assert torch.ones(1).cuda().device == CPU
        module = load("CML_LA_train", "--root_path", "somewhere/LA")
        assert module.args.root_path == "somewhere/LA"
    assert not hasattr(np, "int")
    assert torch.Tensor.cuda is cuda
    assert sys.path == path
    assert "dataloaders.dataset" not in sys.modules
    assert "tensorboardX" not in sys.modules
    assert sys.modules.pop("imported_meanwhile") is sys, "what torch imports meanwhile stays"


def worker_states() -> list[str]:
    """Return the state of each worker as the system sees it: T is stopped."""
    return [
        Path(f"/proc/{child.pid}/stat").read_text().split()[2]
        for child in multiprocessing.active_children()
    ]


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="the system tells no process states in /proc"
)
def test_an_iteration_a_turn_and_workers_wait_meanwhile(official, data, tmp_path):
    before = Backends.now()
    with release(official, CPU):
        module = load("CML_LA_train", "--root_path", str(data / "LA"))
        with ReleaseLoop(module, tmp_path) as loop:
            loop.advance()
            assert module.ITERATIONS == []
            for count in (1, 2, 3):
                loop.advance()
                assert [2] * count == module.ITERATIONS
            deadline = time.monotonic() + 10
            while (states := worker_states()) != ["T"] and time.monotonic() < deadline:
                time.sleep(0.01)  # a signal takes a moment
            assert states == ["T"], "stopped"
            assert loop.model is not None
    before.put()


def test_an_error_of_the_release_comes_out(official, tmp_path):
    with release(official, CPU):
        module = load("CML_LA_train", "--root_path", str(tmp_path / "LA"))
        with ReleaseLoop(module, tmp_path) as loop, pytest.raises(FileNotFoundError):
            loop.advance()


def test_another_folder_and_another_piece_are_refused(tmp_path, monkeypatch, capsys):
    for words, said in (
        (("--only", "la-step"), "not a checkout"),
        (("--only", "la"), "no such piece"),
    ):
        monkeypatch.setattr(sys, "argv", ["versus_official", "--official", str(tmp_path), *words])
        with pytest.raises(SystemExit) as stop:
            run(versus_official.main)
        assert stop.value.code == 2
        assert said in capsys.readouterr().err


def test_a_contestant_that_ends_is_told(tmp_path, monkeypatch):
    (tmp_path / "ends_early.py").write_text(
        "import sys\nprint('{}', flush=True)\nsys.stdin.readline()\nsys.exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    with (
        contestants("ends_early", [], ["one"]) as ready,
        pytest.raises(UserError, match=r"'one' ended(.|\n)*exit code 3"),
    ):
        ready["one"].turn()
