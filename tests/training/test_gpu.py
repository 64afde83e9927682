"""Training on a CUDA device: what the CPU's tests promise, there."""

import warnings
from contextlib import contextmanager

import pytest
import torch
from tests.helpers.ranks import train_in
from tests.helpers.small_run import SMALL, assert_bit_equal, small, weights

from crossview.core.journal import read_journal
from crossview.data.stream import Stream
from crossview.methods import METHODS
from crossview.methods.blocks import pseudo_labels
from crossview.runs.evaluate import evaluate
from crossview.runs.train import train
from crossview.training.loop import Training

pytestmark = pytest.mark.gpu

CUDA = "training.device=cuda"
NO_NOISE = {
    "mean_teacher": ["method.noise=0"],
    "ua_mt": ["method.noise=0"],
    "ss_net": ["method.radius=1e-6", "method.contrast_positions=0"],
}
"""Settings without a method's own draws on the device, whose streams differ by device."""
WAITS = dict.fromkeys(METHODS, 0) | {"ss_net": 10}
"""Waits for the device per step. SS-Net has to read the number of a class's features."""


def losses(run):
    return [
        row["loss"] for row in read_journal(run.path / "journal.jsonl") if row["kind"] == "step"
    ]


def of_method(name, out, *sets):
    """A small run of ten steps of any method, without dropout."""
    two_stages = "pretrain_steps" in METHODS[name].Options.model_fields
    steps = (
        ["method.pretrain_steps=3", "method.train_steps=7"] if two_stages else ["method.steps=10"]
    )
    common = [each for each in SMALL if not each.startswith("method.")]
    own = [
        f"method.name={name}",
        *steps,
        *NO_NOISE.get(name, []),
        "network.dropout=0",
        "training.log_every=1",
    ]
    return train("demo", None, out, overrides=[*common, *own, *sets])[0]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_run_trains_and_is_evaluated(tmp_path, precision):
    run = small(tmp_path / "run", CUDA, f"training.precision={precision}", "method.train_steps=30")
    assert all(torch.isfinite(tensor.float()).all() for tensor in weights(run).values())
    assert losses(run)[-1] < 2 * losses(run)[0]
    assert evaluate(run, device="cuda")["mean"]["dice"]["mean"] is not None


@pytest.mark.parametrize("name", METHODS)
def test_the_first_losses_are_the_cpus(tmp_path, name):
    on_cpu, on_cuda = (
        of_method(name, tmp_path / "cpu", "training.device=cpu"),
        of_method(name, tmp_path / "cuda", CUDA),
    )
    assert losses(on_cuda)[:3] == pytest.approx(losses(on_cpu)[:3], rel=1e-3)
    assert losses(on_cuda) == pytest.approx(
        losses(on_cpu), rel=2e-2
    )  # a voxel at a pseudo-label's threshold may fall the other way


def test_losses_in_bf16_stay_near(tmp_path):
    exact, rounded = (
        of_method("cml", tmp_path / name, CUDA, f"training.precision={name}")
        for name in ("float32", "bf16")
    )
    assert losses(rounded) == pytest.approx(losses(exact), rel=5e-2)


def test_the_evaluation_is_the_cpus(tmp_path):
    run = small(tmp_path / "run", CUDA, "method.train_steps=30")
    on_cuda, on_cpu = (
        evaluate(run, device=device)["mean"]["dice"]["mean"] for device in ("cuda", "cpu")
    )
    assert on_cuda == pytest.approx(on_cpu, abs=2e-3)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_deterministic_run_resumes_bit_equal(tmp_path, precision):
    sets = (
        CUDA,
        "training.deterministic=true",
        "method.train_steps=10",
        f"training.precision={precision}",
    )
    whole = small(tmp_path / "whole", *sets)
    small(tmp_path / "run", *sets, max_steps=6)
    assert_bit_equal(whole, small(tmp_path / "run", *sets, resume=True))


@contextmanager
def counted(into):
    """Adds the waits for the device in this stretch to ``into``; what follows it is not watched."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
    into += [
        f"{warning.filename}:{warning.lineno}"
        for warning in caught
        if "synchroniz" in str(warning.message)
    ]


def waits_of_a_step(monkeypatch, name, out, *sets):
    """The places that waited in a step that is neither logged nor drawn, its batch included."""
    places: dict[int, list[str]] = {}
    step, batch = Training.step, Stream.batch

    def watched_step(self, made, stage, number):
        with counted(places.setdefault(number, [])):
            return step(self, made, stage, number)

    def watched_batch(self, stage, number, **options):
        with counted(places.setdefault(number, [])):
            return batch(self, stage, number, **options)

    monkeypatch.setattr(Training, "step", watched_step)
    monkeypatch.setattr(Stream, "batch", watched_batch)
    quiet = ["training.log_every=1000", "training.checkpoint_every=1000", "training.workers=0"]
    of_method(name, out, CUDA, *quiet, *sets)
    return places[5 if "pretrain_steps" in METHODS[name].Options.model_fields else 8][:20]


def test_waits_are_counted():
    places = []
    with counted(places):
        torch.ones(3, device="cuda").sum().item()
    assert len(places) == 1


@pytest.mark.parametrize("name", METHODS)
def test_a_step_does_not_wait_for_the_device(tmp_path, monkeypatch, name):
    places = waits_of_a_step(monkeypatch, name, tmp_path / "run")
    assert len(places) <= WAITS[name], places


@pytest.mark.parametrize("augmentation", ["none", "rot90_flip", "mild", "strong"])
def test_nor_does_a_batch_of_any_augmentation(tmp_path, monkeypatch, augmentation):
    assert (
        waits_of_a_step(monkeypatch, "cml", tmp_path / "run", f"data.augmentation={augmentation}")
        == []
    )


def test_components_on_the_host_are_waited_for_in_their_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(pseudo_labels, "load", lambda: None)
    assert waits_of_a_step(monkeypatch, "cml", tmp_path / "run") == []


def test_components_of_the_device_and_of_the_host_train_alike(tmp_path, monkeypatch):
    there = of_method("cml", tmp_path / "device", CUDA, "training.deterministic=true")
    monkeypatch.setattr(pseudo_labels, "load", lambda: None)
    assert_bit_equal(
        there, of_method("cml", tmp_path / "host", CUDA, "training.deterministic=true")
    )


@pytest.mark.parametrize("ranks", [1, 2])
def test_processes_with_nccl_agree_with_one_on_the_cpu(tmp_path, ranks):
    """In float64 without dropout; two processes share batch norm by torch's SyncBatchNorm."""
    if torch.cuda.device_count() < ranks:
        pytest.skip(f"needs {ranks} GPUs")
    sets = [*SMALL, "network.dropout=0", "training.labelled_batch=4", "training.unlabelled_batch=4"]
    (alone,) = train_in(1, tmp_path / "cpu", 7, *sets)
    expected = torch.load(alone, weights_only=True)
    for path in train_in(ranks, tmp_path / "cuda", 7, *sets, device="cuda"):
        for key, value in torch.load(path, weights_only=True).items():
            torch.testing.assert_close(value, expected[key], rtol=0, atol=1e-8, msg=key)
