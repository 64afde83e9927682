"""Networks at the same time in training: chosen by measurement, recorded, exact over a resume."""

import json
import tomllib

import pytest
import tomli_w
import torch
from tests.helpers.small_run import SMALL, assert_bit_equal, small, weights

from crossview.core.errors import UserError
from crossview.core.rng import Randomness
from crossview.core.tensors import Batch
from crossview.methods.blocks.parallel import in_turn
from crossview.recipe.resolve import resolve
from crossview.runs.train import train
from crossview.training import device
from crossview.training.options import TrainingOptions

VIEWS = "training.parallel=views"
TINY = ["network.filters=2", "network.levels=2", "data.patch=[8,8,8]"]
CPU = ["training.device=cpu"]


def made(*sets: str):
    """Return a tiny method and a batch of its first stage."""
    method = resolve("demo", [*TINY, *sets]).build_method(1)
    image = torch.randn(4, 1, 8, 8, 8)
    unlabelled = image if method.stages[0].unlabelled else None
    return method, Batch(image, (image[:, 0] > 0).long(), unlabelled, Randomness(1))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("method", ["cml", "cps"])
def test_without_dropout_the_numbers_are_those_of_networks_in_turn(tmp_path, method):
    kept = [text for text in SMALL if method == "cml" or not text.startswith("method.")]
    sets = [*kept, *CPU, f"method.name={method}", "network.dropout=0.0"]
    sets += ["method.steps=5"] if method == "cps" else []
    runs = [
        train("demo", None, tmp_path / way, overrides=[*sets, f"training.parallel={way}"])[0]
        for way in ("off", "views")
    ]
    assert_bit_equal(*runs)


def test_a_resumed_run_is_bit_equal(tmp_path):
    whole = small(tmp_path / "whole", VIEWS, *CPU)
    small(tmp_path / "parts", VIEWS, *CPU, max_steps=2)
    small(tmp_path / "parts", resume=True, max_steps=5)
    assert_bit_equal(whole, small(tmp_path / "parts", resume=True))
    assert whole.recipe.training.parallel == "views"


def test_a_run_made_before_the_key_is_resumed_with_networks_in_turn(tmp_path):
    whole = small(tmp_path / "whole", "training.parallel=off", *CPU)
    run = small(tmp_path / "run", "training.parallel=off", *CPU, max_steps=4)
    file = run.path / "recipe.toml"
    tables = tomllib.loads(file.read_text())
    del tables["training"]["parallel"]
    file.write_text(tomli_w.dumps(tables))
    last = run.path / "checkpoints" / "last.pt"
    content = torch.load(last, weights_only=True)
    del content["recipe"]["training"]["parallel"]
    torch.save(content, last)
    with pytest.raises(UserError, match="parallel: the value differs"):
        small(tmp_path / "run", VIEWS, resume=True)
    assert_bit_equal(whole, small(tmp_path / "run", resume=True))


def test_the_choice_and_its_seconds_are_recorded(tmp_path, two_threads):
    run = small(tmp_path / "run", *CPU, max_steps=1)
    assert run.recipe.training.parallel in ("views", "off")
    seconds = json.loads((run.path / "environment.json").read_text())["parallel_seconds"]
    assert set(seconds) == {"views", "off"}


@pytest.mark.parametrize(
    ("off", "views", "chosen"),
    [(0.25, 0.175, "views"), (0.25, 0.2125, "off"), (0.25, 0.35, "off")],
)
@pytest.mark.parametrize("busy", [(), (3, 4, 5), (2, 4, 6)])
def test_views_are_chosen_if_they_are_faster_by_a_fifth(monkeypatch, off, views, chosen, busy):
    """busy: steps that other work makes ten times as long."""
    method, batch = made()
    now, steps = [0.0], iter(range(100))

    def step(method, *_):
        alone = off if method.together is in_turn else views
        now[0] += alone * (10 if next(steps) in busy else 1)

    monkeypatch.setattr(device, "backpropagate", step)
    monkeypatch.setattr(device.time, "perf_counter", lambda: now[0])
    found, seconds = device.choose_parallel(method, batch, "float32")
    assert (found, seconds) == (chosen, {"off": off, "views": views})


def test_slow_steps_are_timed_once(monkeypatch):
    method, batch = made()
    now, steps = [0.0], []

    def step(*_):
        steps.append(now[0])
        now[0] += 30.0

    monkeypatch.setattr(device, "backpropagate", step)
    monkeypatch.setattr(device.time, "perf_counter", lambda: now[0])
    assert device.choose_parallel(method, batch, "float32")[0] == "off"
    assert len(steps) == 4  # one round to select kernels, one that counts


@pytest.mark.parametrize("name", ["cml", "cps"])
def test_measuring_leaves_the_method_alone(name, two_threads):
    method, batch = made(f"method.name={name}")
    before = {key: value.clone() for key, value in method.state_dict().items()}
    device.choose_parallel(method, batch, "float32")
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())
    assert method.together is in_turn


@pytest.mark.parametrize(
    "sets", [["method.name=supervised"], ["method.name=mean_teacher"], ["method.shared_views=true"]]
)
def test_networks_that_depend_on_each_other_run_in_turn(sets, two_threads):
    method, batch = made(*sets)
    options = TrainingOptions(precision="float32")
    found, seconds = device.measure(options, method, batch)
    assert "training.parallel=off" in found
    assert seconds == {}
    with pytest.raises(UserError, match="cannot run at the same time"):
        device.measure(options.model_copy(update={"parallel": "views"}), method, batch)


def test_one_thread_or_several_processes_run_networks_in_turn(two_threads):
    method, batch = made()
    options = TrainingOptions(precision="float32")
    assert "training.parallel=off" in device.measure(options, method, batch, alone=False)[0]
    torch.set_num_threads(1)
    found, seconds = device.measure(options, method, batch)
    assert "training.parallel=off" in found
    assert seconds == {}


def test_dropout_differs_from_networks_in_turn_but_not_from_run_to_run(tmp_path):
    runs = [
        weights(small(tmp_path / name, f"training.parallel={way}", *CPU))
        for name, way in (("off", "off"), ("one", "views"), ("other", "views"))
    ]
    off, one, other = runs
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert not all(torch.equal(one[key], off[key]) for key in one)
