"""Devices, precision, and the memory layout."""

import pytest
import torch

from crossview.core.errors import UserError
from crossview.networks.vnet import VNet
from crossview.training import device

CPU = torch.device("cpu")


def network():
    return VNet(VNet.Options(filters=2, levels=2, dropout=0.5), channels=1, classes=2)


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpuu", "mps:3", ""])
def test_unknown_devices_are_refused(name):
    with pytest.raises(UserError, match="unknown device"):
        device.find_device(name)


def test_auto_is_a_device_that_is_here():
    assert device.find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device.find_device("cpu") == CPU


def test_an_apple_gpu_is_a_device_where_there_is_one(monkeypatch):
    with pytest.raises(UserError, match="unknown device 'mps'"):
        device.find_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.find_device("mps") == torch.device("mps")
    assert device.find_device("mps:0").type == "mps"
    with pytest.raises(UserError, match="auto, cpu"):
        device.find_device("mps:1")
    assert device.find_device("auto").type != "mps", "an untried device is taken on request only"


def test_measuring_the_precision_leaves_the_network_alone():
    made = network()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    precision, seconds = device.choose_precision(made, torch.randn(1, 1, 8, 8, 8))
    assert precision in ("float32", "bf16")
    assert set(seconds) == {"float32", "bf16"}
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert all(parameter.grad is None for parameter in made.parameters())


@pytest.mark.parametrize(
    ("float32", "bf16", "chosen"),
    [(1.0, 0.5, "bf16"), (0.5, 1.0, "float32"), (1.0, 0.95, "float32")],
)
@pytest.mark.parametrize("busy", [(), (3, 4, 5), (2, 4, 6)])
def test_the_faster_precision_is_chosen_on_a_busy_machine_too(
    monkeypatch, float32, bf16, chosen, busy
):
    """busy: passes that other work makes ten times as long."""
    now, passes = [0.0], iter(range(100))

    def once(made, image, precision):
        now[0] += (float32 if precision == "float32" else bf16) * (
            10 if next(passes) in busy else 1
        )

    monkeypatch.setattr(device, "one_pass", once)
    monkeypatch.setattr(device.time, "perf_counter", lambda: now[0])
    found, seconds = device.choose_precision(network(), torch.randn(1, 1, 8, 8, 8))
    assert (found, seconds) == (chosen, {"float32": float32, "bf16": bf16})


def test_autocast_is_bf16_or_nothing():
    layer = torch.nn.Linear(2, 2)
    with device.autocast(CPU, "bf16"):
        assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
    with device.autocast(CPU, "float32"):
        assert layer(torch.ones(1, 2)).dtype == torch.float32


def test_weights_are_placed_channels_last():
    made = network()
    device.place(made, CPU, 3)
    assert made.first.convolution.weight.is_contiguous(memory_format=torch.channels_last_3d)
