"""Schedules against the golden ramps, and SGD against torch's plain one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from crossview.training.optimiser import Guard, learning_rate, make_optimiser
from crossview.training.options import TrainingOptions

RAMPS = np.load(Path(__file__).parents[1] / "golden" / "ramps.npz")


def rates(options, steps):
    return [learning_rate(options, int(step), steps) for step in RAMPS["iterations"]]


def test_step_schedule_equals_the_releases():
    options = TrainingOptions(schedule="step", decay_every=2500, decay_factor=0.1)
    np.testing.assert_allclose(rates(options, 30000), RAMPS["step_2500"], rtol=1e-12)


def test_polynomial_schedule_equals_ssl4mis():
    options = TrainingOptions(schedule="polynomial", decay_power=0.9)
    np.testing.assert_allclose(rates(options, 30000), RAMPS["poly_30000"], rtol=1e-12)


def test_decay_after_holds_the_full_rate():
    options = TrainingOptions(schedule="step", decay_after=2000, decay_every=2500)
    assert learning_rate(options, 4499, 17000) == pytest.approx(0.01)
    assert learning_rate(options, 4500, 17000) == pytest.approx(0.001)
    polynomial = TrainingOptions(schedule="polynomial", decay_after=10)
    assert learning_rate(polynomial, 10, 20) == pytest.approx(0.01)
    assert learning_rate(polynomial, 19, 20) > 0


def test_steps_equal_plain_sgd():
    torch.manual_seed(0)
    ours, plain = torch.nn.Linear(5, 3).double(), torch.nn.Linear(5, 3).double()
    plain.load_state_dict(ours.state_dict())
    options = TrainingOptions(momentum=0.9, weight_decay=1e-2, learning_rate=0.1)
    optimiser = make_optimiser(ours.parameters(), options)
    guard = Guard(ours, optimiser)
    reference = torch.optim.SGD(
        plain.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2, foreach=False, fused=False
    )
    for step in range(4):
        image = torch.randn(2, 5, dtype=torch.float64)
        for network in (ours, plain):
            network.zero_grad()
            network(image).square().sum().backward()
        guard.open()
        guard.step(step, [torch.tensor(1.0)])
        reference.step()
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-14)


def test_the_guard_names_bad_steps_once():
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    guard = Guard(layer, make_optimiser(layer.parameters(), TrainingOptions()))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    for step, factor in ((4, 1.0), (5, float("inf")), (6, 1.0), (7, float("nan"))):
        guard.open()
        layer.zero_grad()
        loss = (layer(torch.randn(4, 2)) * factor).sum()
        loss.backward()
        guard.step(step, [loss])
        if step == 4:
            before = {name: value.clone() for name, value in layer.state_dict().items()}
        if step == 5:
            for name, value in layer.state_dict().items():
                assert torch.equal(value, before[name]) or "tracked" in name
    assert guard.bad_steps() == [5, 7]
    assert guard.bad_steps() == []


def test_a_finite_loss_with_an_infinite_gradient_is_skipped_too():
    layer = torch.nn.Linear(2, 1)
    guard = Guard(layer, make_optimiser(layer.parameters(), TrainingOptions()))
    guard.open()
    for parameter in layer.parameters():
        parameter.grad = torch.full_like(parameter, float("inf"))
    guard.step(0, [torch.tensor(1.0)])
    assert guard.bad_steps() == [0]


def test_frozen_parameters_are_not_optimised():
    layer = torch.nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    optimiser = make_optimiser(layer.parameters(), TrainingOptions())
    assert [len(group["params"]) for group in optimiser.param_groups] == [1]


def test_a_channels_last_buffer_is_kept_whole():
    layer = torch.nn.Linear(2, 1)
    layer.register_buffer(
        "average", torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
    )
    guard = Guard(layer, make_optimiser(layer.parameters(), TrainingOptions()))
    before = layer.average.clone()
    for step, loss in enumerate((float("nan"), 1.0)):
        guard.open()
        for parameter in layer.parameters():
            parameter.grad = torch.zeros_like(parameter)
        layer.average += 1
        guard.step(step, [torch.tensor(loss)])
        torch.testing.assert_close(layer.average, before + step, rtol=0, atol=0)


COMPILER = """
import sys, torch
from crossview.training.device import set_kernels
from crossview.training.optimiser import Guard, make_optimiser
from crossview.training.options import TrainingOptions
set_kernels(deterministic=False)
network = torch.nn.Linear(2, 1)
optimiser = make_optimiser(network.parameters(), TrainingOptions(momentum=0.9))
optimiser.load_state_dict(optimiser.state_dict())
optimiser.zero_grad()
network(torch.ones(1, 2)).sum().backward()
before = network.weight.clone()
Guard(network, optimiser).step(0, [])
assert not torch.equal(network.weight, before)
import crossview.runs.train
sys.exit(", ".join({"torch._dynamo", "jinja2", "scipy.sparse"} & {*sys.modules}) or None)
"""


def test_a_step_does_not_wait_for_what_it_does_not_need():
    """The import of torch's compiler takes two seconds of each start."""
    command = [sys.executable, "-c", COMPILER]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
