"""Several processes train one run: they agree with one process and with each other."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from tests.helpers.ranks import finish, free_port, start, train_in
from tests.helpers.small_run import SMALL, assert_bit_equal, small, weights

from crossview import train
from crossview.core.errors import UserError
from crossview.core.journal import read_journal
from crossview.core.processes import LAUNCHER, orphaned, place
from crossview.core.signals import stop_signals
from crossview.data.stream import share
from crossview.recipe.resolve import resolve
from crossview.runs.evaluate import evaluate
from crossview.runs.prepare import prepare, sharing_problems
from crossview.runs.run import Run
from crossview.training import distributed
from crossview.training.batch_norm import SharedBatchNorm, share_batch_norm
from crossview.training.distributed import Ranks, World, join

CPU = torch.device("cpu")
BATCHES = ("training.labelled_batch=4", "training.unlabelled_batch=4")
EXACT = [
    *(text for text in SMALL if not text.startswith(("method.", "network.dropout"))),
    "network.dropout=0",
    *BATCHES,
]
STAGES = ("method.pretrain_steps=3", "method.train_steps=4")
METHODS = {
    "cml": STAGES,
    "supervised": ("method.name=supervised", "method.steps=7"),
    "bcp": ("method.name=bcp", "method.dice=sample", *STAGES),
    "cml that waits": (*STAGES, "method.ready_dice=0.999"),
}


# -- the promise ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["cml", "supervised", "cml that waits", pytest.param("bcp", marks=pytest.mark.slow)]
)
def test_two_processes_agree_with_one(tmp_path, name):
    (alone,) = train_in(1, tmp_path / "one", 7, *EXACT, *METHODS[name])
    shared = [
        torch.load(path, weights_only=True)
        for path in train_in(2, tmp_path / "two", 7, *EXACT, *METHODS[name])
    ]
    for key, value in torch.load(alone, weights_only=True).items():
        assert torch.equal(shared[0][key], shared[1][key]), key
        torch.testing.assert_close(shared[0][key], value, rtol=0, atol=1e-13, msg=key)
    one, two = (
        [row for row in read_journal(tmp_path / runs / "journal.jsonl") if row["kind"] == "step"]
        for runs in ("one", "two")
    )
    for first, second in zip(one, two, strict=True):
        assert second["terms"] == pytest.approx(first["terms"], rel=1e-12)
        assert second["health"].keys() == first["health"].keys()
    one, two = (
        [
            row
            for row in read_journal(tmp_path / runs / "journal.jsonl")
            if row["kind"] == "readiness"
        ]
        for runs in ("one", "two")
    )
    assert len(one) == (5 if name == "cml that waits" else 0)
    assert one == two


@pytest.mark.parametrize("what", ["image", "loss"])
def test_what_is_not_finite_in_one_process_is_skipped_by_all(tmp_path, monkeypatch, what):
    """The loss alone: its gradient is finite, so only the terms can tell the other process."""
    monkeypatch.setenv("POISON", f"{what},1,4")
    paths = train_in(2, tmp_path / "run", 7, *EXACT, *STAGES)
    first, second = (torch.load(path, weights_only=True) for path in paths)
    assert all(
        torch.isfinite(value).all() and torch.equal(value, second[key])
        for key, value in first.items()
    )
    (warning,) = [
        row["text"]
        for row in read_journal(tmp_path / "run" / "journal.jsonl")
        if row["kind"] == "warning"
    ]
    assert "stage train, step 1 was not finite" in warning


# -- shares of a batch ---------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "ranks"), [(4, 1), (4, 2), (8, 2), (8, 4), (12, 3)])
def test_the_shares_are_whole_pairs_and_all_of_the_batch(size, ranks):
    shares = [share(size, rank, ranks) for rank in range(ranks)]
    assert sorted(slot for each in shares for slot in each) == list(range(size))
    for each in shares:
        half = len(each) // 2
        assert [slot + size // 2 for slot in each[:half]] == each[half:]


@pytest.mark.parametrize(("size", "ranks"), [(4, 4), (6, 2), (5, 2)])
def test_an_uneven_share_is_refused(size, ranks):
    with pytest.raises(ValueError, match="share"):
        share(size, 0, ranks)


@pytest.mark.parametrize("augmentation", ["none", "rot90_flip", "mild", "strong"])
def test_the_shares_of_two_processes_make_up_the_batch_of_one(augmentation):
    stream = prepare(
        resolve("demo", [*EXACT, *STAGES, f"data.augmentation={augmentation}"]), None
    ).stream
    whole = stream.batch(1, 5, unlabelled=True)
    for rank in range(2):
        stream.rank, stream.ranks = rank, 2
        part = stream.batch(1, 5, unlabelled=True)
        slots = share(4, rank, 2)
        for name in ("image", "label", "unlabelled"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[slots]), name


# -- batch norm ----------------------------------------------------------------------------------


@pytest.fixture
def one_process_group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("training", [True, False])
def test_shared_batch_norm_of_one_process_is_batch_norm(one_process_group, training):
    torch.manual_seed(0)
    plain, image = torch.nn.BatchNorm3d(3).double(), torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    torch.nn.init.uniform_(plain.weight), torch.nn.init.normal_(plain.bias)
    net = torch.nn.Sequential(torch.nn.BatchNorm3d(3).double())
    net.load_state_dict({f"0.{key}": value for key, value in plain.state_dict().items()})
    parameters = list(net.parameters())
    share_batch_norm(net, CPU)
    assert isinstance(net[0], SharedBatchNorm)
    assert all(one is other for one, other in zip(parameters, net.parameters(), strict=True))
    results = []
    for each in (plain.train(training), net.train(training)):
        x = image.clone().requires_grad_()
        y = each(x)
        (y * torch.arange(y.numel(), dtype=y.dtype).reshape(y.shape).sin()).sum().backward()
        results.append((y, x.grad, *(p.grad for p in each.parameters()), *each.buffers()))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_a_process_that_torchrun_started_alone_trains_as_any(tmp_path):
    ((code, _, err),) = finish(start(1, *command(tmp_path / "one", *STAGES)))
    assert code == 0, err
    assert_bit_equal(
        Run(tmp_path / "one"), small(tmp_path / "plain", *BATCHES, "training.device=cpu", *STAGES)
    )


# -- the command ---------------------------------------------------------------------------------


def command(out, *sets, options=()):
    texts = [
        part
        for text in (*SMALL, *BATCHES, "training.device=cpu", *sets)
        for part in ("--set", text)
    ]
    return [sys.executable, "-m", "crossview", "train", "demo", "--out", str(out), *texts, *options]


def crossview(out, *sets, options=("--gpus", "2")):
    done = subprocess.run(
        command(out, *sets, options=options), capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


LONG = ("method.pretrain_steps=20", "method.train_steps=400", "training.log_every=1")


def until_step(out, step):
    for _ in range(1200):
        if any(
            row["kind"] == "step" and row["total_step"] >= step
            for row in read_journal(out / "journal.jsonl")
        ):
            return
        time.sleep(0.05)
    raise TimeoutError


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_stopped_run_of_two_processes_resumes_bit_equal_with_two(tmp_path, number):
    out = tmp_path / "stopped"
    process = subprocess.Popen(
        command(out, *LONG, options=("--gpus", "2")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until_step(out, 22)
    process.send_signal(number)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number, told
    assert printed.count("stopped and saved") == 1
    assert "Traceback" not in told
    reached = torch.load(out / "checkpoints" / "last.pt", weights_only=True)["position"][
        "total_step"
    ]
    last = str(reached + 3)
    code, printed, told = crossview(
        out, *LONG, options=("--gpus", "2", "--resume", "--max-steps", last)
    )
    assert (code, printed.count("stopped and saved")) == (0, 1), told
    assert (
        crossview(tmp_path / "whole", *LONG, options=("--gpus", "2", "--max-steps", last))[0] == 0
    )
    assert_bit_equal(Run(tmp_path / "whole"), Run(out))


def test_a_run_of_two_processes_goes_on_with_one(tmp_path):
    out = tmp_path / "run"
    code, _, told = crossview(out, *STAGES, options=("--gpus", "2", "--max-steps", "4"))
    assert code == 0, told
    assert json.loads((out / "environment.json").read_text())["processes"] == 2
    run = small(out, *BATCHES, "training.device=cpu", *STAGES, resume=True)
    assert run.finished
    (warning,) = [
        row["text"] for row in read_journal(out / "journal.jsonl") if row["kind"] == "warning"
    ]
    assert "processes 2 then, 1 now" in warning
    assert all(torch.isfinite(value).all() for value in weights(run).values())
    assert evaluate(run, device="cpu")["cases"]


def test_a_process_that_dies_ends_the_others(tmp_path):
    """A process killed from outside ends the command with a message and a whole checkpoint."""
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(out, *LONG, options=("--gpus", "2")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until_step(out, 2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)  # the first is the watchdog
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "process 2 of 2 was killed by signal 9" in told
    assert small(out, *BATCHES, "training.device=cpu", *LONG, resume=True, max_steps=4)


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (
            ("training.labelled_batch=2", *STAGES),
            r"\[training\] labelled_batch: 2 processes cannot share the batch",
        ),
        (
            ("method.name=cps", "method.steps=4"),
            "cps cannot be trained in several processes(.|\n)*cml, supervised, bcp",
        ),
    ],
)
def test_what_can_not_be_shared_is_refused_before_anything_is_written(tmp_path, sets, expected):
    texts = [text for text in SMALL if not text.startswith("method.")]
    recipe = resolve("demo", [*texts, *BATCHES, *sets])
    (problem,) = sharing_problems(recipe, Ranks(0, 2))
    assert re.search(expected, str(problem))
    assert sharing_problems(recipe, World()) == []


def test_a_refusal_of_the_command_is_told_once(tmp_path):
    code, printed, told = crossview(tmp_path / "run", "training.unlabelled_batch=6", *STAGES)
    assert (code, printed, told.count("error:")) == (2, "", 1)
    assert "[training] unlabelled_batch" in told
    assert not (tmp_path / "run").exists()


def test_too_few_gpus_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"found: +1 GPU on this machine(.|\n)*--gpus 1"):
        Ranks(1, 2, local_rank=1, local_size=2).device("auto")
    with pytest.raises(UserError, match="one device cannot serve several"):
        Ranks(1, 2, local_rank=1, local_size=2).device("cuda:0")
    assert Ranks(1, 2, local_rank=1, local_size=2).device("cpu") == CPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_the_cpu_must_be_asked_for():
    with pytest.raises(UserError, match=r"0 GPUs on this machine(.|\n)*training.device=cpu"):
        World(gpus=True).device("auto")
    assert World(gpus=True).device("cpu") == World().device("auto") == CPU


def test_a_python_call_in_one_process_says_how_to_start_more(tmp_path):
    with pytest.raises(UserError, match="torchrun"):
        train("demo", None, tmp_path / "run", overrides=SMALL, gpus=2)
    assert not (tmp_path / "run").exists()


# -- small parts ---------------------------------------------------------------------------------


TORCHRUN = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}


def test_the_place_is_read_from_torchruns_variables():
    assert place({}) is None
    assert place({"WORLD_SIZE": "4"}) is None
    here = place(TORCHRUN)
    assert (here.rank, here.size, here.local_rank, here.local_size) == (1, 2, 1, 2)


@pytest.mark.parametrize(
    "wrong", [{"RANK": "2"}, {"RANK": "one"}, {"WORLD_SIZE": "0"}, {"MASTER_PORT": None}]
)
def test_a_place_that_can_not_be_is_refused(wrong):
    environment = {key: value for key, value in {**TORCHRUN, **wrong}.items() if value is not None}
    with pytest.raises(UserError, match="incomplete or wrong"):
        place(environment)


def test_processes_that_do_not_number_what_was_asked_are_refused(monkeypatch):
    for key, value in TORCHRUN.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(UserError, match=r"2 processes \(WORLD_SIZE\)"):
        join(gpus=4)


def test_a_process_does_not_wait_for_ever_for_the_others(monkeypatch):
    for key, value in {**TORCHRUN, "RANK": "0", "MASTER_PORT": str(free_port())}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(distributed, "LONGEST_START", timedelta(seconds=1))
    with pytest.raises(UserError, match="cannot find each other"):
        join()


def test_an_orphan_knows_it(monkeypatch):
    assert not orphaned()
    monkeypatch.setenv(LAUNCHER, str(os.getppid()))
    assert not orphaned()
    monkeypatch.setenv(LAUNCHER, "1" if os.getppid() != 1 else "2")
    assert orphaned()


def test_one_of_several_processes_is_not_killed_by_a_second_signal():
    with stop_signals(once=True) as caught:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    assert caught[0] == signal.SIGINT
