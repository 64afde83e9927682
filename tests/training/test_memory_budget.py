"""training.memory_gb: where the prepared volumes lie changes nothing of a run, and memory stays within it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.small_run import SMALL, assert_bit_equal, small

from crossview.core.errors import UserError
from crossview.evaluation.finished import identity
from crossview.recipe.resolve import resolve
from crossview.runs.prepare import prepare

ON_DISK = "training.memory_gb=0"


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory):
    return small(tmp_path_factory.mktemp("runs") / "in-memory")


def mapped_files():
    return [
        line
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith("(deleted)")
    ]


def test_training_from_disk_is_bit_equal(in_memory, tmp_path):
    told = []
    run = small(tmp_path / "run", ON_DISK, say=told.append)
    assert_bit_equal(in_memory, run)
    assert len(told) == 1
    assert "beyond training.memory_gb" in told[0]
    assert {path.name for path in run.path.iterdir()} == {
        path.name for path in in_memory.path.iterdir()
    }


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which files are mapped")
def test_the_file_is_gone_after_training(tmp_path):
    small(tmp_path / "run", ON_DISK, max_steps=1)
    assert not mapped_files()


def test_a_resume_may_change_the_budget(in_memory, tmp_path):
    small(tmp_path / "run", ON_DISK, max_steps=2)
    small(tmp_path / "run", "training.memory_gb=1", resume=True, max_steps=4)
    assert_bit_equal(in_memory, small(tmp_path / "run", ON_DISK, resume=True))


def test_the_budget_is_shared_by_both_stores(tmp_path):
    whole = prepare(resolve("demo", SMALL), None, out=tmp_path).stream
    budget = (whole.labelled.nbytes + 0.5 * whole.unlabelled.nbytes) / 1e9
    prepared = prepare(
        resolve("demo", [*SMALL, f"training.memory_gb={budget:.9f}"]), None, out=tmp_path
    )
    assert (prepared.stream.labelled.on_disk, prepared.stream.unlabelled.on_disk) == (False, True)
    assert prepared.on_disk == whole.unlabelled.nbytes


def test_the_budget_is_no_part_of_what_a_run_is():
    assert identity(resolve("demo").tables()) == identity(resolve("demo", [ON_DISK]).tables())


@pytest.mark.parametrize("value", ["-1", "many", "true", "inf", "nan"])
def test_a_budget_that_is_none(value):
    with pytest.raises(UserError) as error:
        resolve("demo", [f"training.memory_gb={value}"])
    assert [problem.what for problem in error.value.problems] == [
        "key 'memory_gb' has a wrong value"
    ]
    assert error.value.problems[0].expected == "auto, or a number of GB, 0 or more"


MEASURE = """
import json, resource, sys
from pathlib import Path
import numpy as np
from crossview.data.case import Case
from crossview.data.memory import Room
from crossview.data.store import Store

def image(number):
    return np.random.default_rng(number).integers(0, 200, (1, 100, 100, 100), np.uint8).astype(np.float32)

def cases(count):
    return [Case(f"{n}", f"{n}", Path(f"{n}"), lambda n=n: image(n), lambda n=n: np.zeros((100, 100, 100), np.uint8)) for n in range(count)]

def now():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

folder, memory = Path(sys.argv[1]), float(sys.argv[2])
before = now()
Store(cases(8), classes=2, channels=1, workers=2, room=Room(0, folder))
reading = peak() - before
store = Store(cases(300), classes=2, channels=1, workers=2, room=Room(memory, folder))
print(json.dumps({"reading": reading, "grown": peak() - before, "nbytes": store.nbytes, "on_disk": store.on_disk}))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux", reason="the peak of a process's memory is counted in kB on Linux"
)
@pytest.mark.parametrize("share", [0.0, 0.3, 2.0])
def test_preparing_takes_the_budget_and_some_volumes(tmp_path, share):
    """300 volumes of 2 MB prepared: beside the budget, or what there is, no more than the reading of 8 of them takes."""
    nbytes = 600e6
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), str(share * nbytes)],
        capture_output=True,
        check=True,
        text=True,
    )
    found = json.loads(done.stdout)
    assert found["nbytes"] == pytest.approx(nbytes, rel=0.01)
    assert found["on_disk"] == (share < 1)
    assert found["grown"] < min(share, 1.0) * nbytes + 1.3 * found["reading"]
    assert share < 1 or found["grown"] > nbytes
