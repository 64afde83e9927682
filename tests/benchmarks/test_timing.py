"""Shared parts of benchmarks: spreads, clock, intervals, operations, loops in turn, made data."""

import sys
import threading
import time

import pytest
import torch
from benchmarks.flops import flops_of_call, flops_of_calls
from benchmarks.loops import Paused, loop_of, prepared_of
from benchmarks.parts import union, watching
from benchmarks.timing import Clock, between, matmul_peak, now, report, run, spread, table
from tests.helpers.small_shapes import SMALL_2D

from benchmarks import made
from crossview.core.errors import Problem, UserError
from crossview.data.prefetch import Prefetcher
from crossview.networks.vnet import VNet
from crossview.recipe.resolve import resolve
from crossview.training.loop import Training

CPU = torch.device("cpu")


def test_a_spread():
    assert spread([3.0, 1.0, 2.0]) == {
        "median": 2.0,
        "min": 1.0,
        "max": 3.0,
        "values": [3.0, 1.0, 2.0],
    }


def test_the_clock():
    clock = Clock(CPU)
    for pause in (0.0, 0.03, 0.01):
        time.sleep(pause)
        clock.mark()
    first, second = clock.intervals()
    assert 0.03 <= first < 0.5
    assert 0.01 <= second < 0.5


@pytest.mark.gpu
def test_the_clock_of_cuda_knows_the_device():
    device = torch.device("cuda")
    work = torch.randn(8192, 8192, device=device)
    first = now(device)
    work @ work
    second = now(device)
    torch.cuda.synchronize()
    assert between(first, second) > 1e-3


def test_the_union_of_intervals():
    assert union([(0, 2), (1, 3), (5, 6), (5.2, 5.4)]) == pytest.approx(4)
    assert union([]) == 0


def test_a_report_names_no_folder(monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["step", "la-8", "--data", "/somewhere/private/LA", "--json", "/tmp/out.json"]
    )
    assert (
        report("step", {}, {}, CPU)["command"]
        == "python -m benchmarks.step la-8 --data LA --json out.json"
    )


def test_a_table_is_aligned():
    assert table([("a", 1.23456), ("long name", 2)]) == "a          1.235\nlong name  2"


def test_the_peak_is_of_real_products():
    assert 1e8 < matmul_peak(CPU, "float32", side=256)["flops_per_second"] < 1e15


def test_a_users_mistake_ends_with_code_2(capsys):
    def wrong() -> None:
        raise UserError(Problem("this is wrong"))

    with pytest.raises(SystemExit) as stop:
        run(wrong)
    assert stop.value.code == 2
    assert "this is wrong" in capsys.readouterr().err


def test_operations_are_those_of_the_published_shapes():
    """CML's views on an LA patch: 211 GFLOP forward; backward twice that, without the image."""
    views = [
        VNet(VNet.Options(upsample=upsample), channels=1, classes=2)
        for upsample in ("transposed", "linear")
    ]
    forward = [flops_of_call(view, 2, (1, 1, 112, 112, 80), backward=False) for view in views]
    both = [flops_of_call(view, 2, (1, 1, 112, 112, 80), backward=True) for view in views]
    assert sum(forward) == pytest.approx(211e9, rel=0.01)
    assert 2.9 * sum(forward) < sum(both) < 3 * sum(forward)
    calls = [(views[0], (2, 1, 112, 112, 80), True), (views[1], (2, 1, 112, 112, 80), False)]
    assert flops_of_calls(calls, 2) == 2 * (both[0] + forward[1])


def test_a_paused_loop_goes_on_by_one():
    done = []

    def work(pause):
        for number in range(3):
            pause()
            done.append((number, threading.get_ident()))

    loop = Paused(work)
    loop.advance()
    assert done == []
    loop.advance()
    loop.advance()
    assert [number for number, _ in done] == [0, 1]
    assert {owner for _, owner in done} != {threading.get_ident()}
    with pytest.raises(RuntimeError, match="ended"):
        loop.advance()
    loop.close()


def test_a_paused_loop_is_ended_from_outside_and_its_errors_come_out():
    left = []

    def endless(pause):
        try:
            while True:
                pause()
        finally:
            left.append(True)

    loop = Paused(endless)
    loop.advance()
    loop.close()
    assert left == [True]

    def broken(pause):
        raise KeyError("broken")

    with pytest.raises(KeyError):
        Paused(broken).advance()


@pytest.mark.parametrize(
    ("name", "counts"),
    [("la-8", (8, 72, 20)), ("acdc-7", (131, 1181, 40)), ("la-16", (16, 64, 20))],
)
def test_made_data_has_the_numbers_and_shapes_of_the_real(name, counts):
    recipe = resolve(name)
    splits = made.splits(recipe)
    assert (len(splits.labelled), len(splits.unlabelled), len(splits.test)) == counts
    case = splits.labelled[0]
    image, label = case.read_image(), case.read_label()
    assert (
        image.shape[1:]
        == label.shape
        == (made.LA_SHAPES if name.startswith("la") else made.ACDC_SHAPES)[0]
    )
    assert set(label.flat) == set(range(recipe.data.classes))
    assert not splits.unlabelled[0].labelled


@pytest.fixture(scope="module")
def prepared():
    return prepared_of("acdc-7", None, [*SMALL_2D, "data.labelled=3", "training.device=cpu"])


def test_the_real_loop_is_timed(prepared):
    with loop_of(prepared, precision="float32") as loop:
        times, waits = loop.times(3, warm_up=2)
        assert loop.training.position.step == 5
    assert len(times) == len(waits) == 3
    assert all(0 <= wait <= time for wait, time in zip(waits, times, strict=True))


def test_waiting_for_data_is_seen(prepared, monkeypatch):
    make = type(prepared.stream).batch

    def slow(self, *arguments, **named):
        time.sleep(0.05)
        return make(self, *arguments, **named)

    monkeypatch.setattr(type(prepared.stream), "batch", slow)
    with loop_of(prepared, precision="float32") as loop:
        loop.training.job.options = loop.training.job.options.model_copy(update={"workers": 0})
        times, waits = loop.times(3)
    assert all(0.05 <= wait < time for wait, time in zip(waits, times, strict=True))


def test_the_parts_of_a_step(prepared):
    """CML: two views, three passes each, of them one without gradient; two backward passes."""
    kept = Prefetcher.__next__, torch.Tensor.backward, Training.step
    with loop_of(prepared, precision="float32") as loop, watching(loop) as watch:
        loop.times(1, warm_up=0)
    assert (Prefetcher.__next__, torch.Tensor.backward, Training.step) == kept, (
        "nothing stays replaced"
    )
    assert sorted(gradient for _, _, gradient in watch.calls) == [
        False,
        False,
        True,
        True,
        True,
        True,
    ]
    assert {shape for _, shape, gradient in watch.calls if not gradient} == {(4, 1, 32, 32)}
    assert len(watch.intervals["backward"]) == 2
    assert len(watch.intervals["optimiser"]) == 2
    found = watch.seconds()
    assert all(value > 0 for value in found.values()), found
    assert watch.threads["components"] > 0
