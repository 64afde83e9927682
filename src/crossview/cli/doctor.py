"""Findings about this machine: versions, devices, and the precision crossview would choose."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

import torch

from crossview.core.environment import environment_now
from crossview.networks.vnet import VNet
from crossview.training.device import choose_precision, find_device

LIBRARIES = (
    "numpy",
    "scipy",
    "h5py",
    "nibabel",
    "pillow",
    "connected-components-3d",
    "pydantic",
    "typer",
    "rich",
)


def examine() -> dict[str, str]:
    """Return the findings by name, in display order."""
    device = find_device("auto")
    found = {name: str(value) for name, value in environment_now(device).items() if value != ""}
    found |= {name: version(name) for name in LIBRARIES}
    found["disk free"] = _gib(shutil.disk_usage(Path.cwd()).free)
    if device.type == "cuda":
        found["gpu memory"] = _gib(torch.cuda.get_device_properties(device).total_memory)
    network = VNet(VNet.Options(filters=8, levels=4), channels=1, classes=2).to(device)
    precision, seconds = choose_precision(network, torch.randn(1, 1, 48, 48, 48, device=device))
    times = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
    found["precision"] = f"{precision} (a small V-Net, forward and backward: {times})"
    if torch.__version__.startswith("2.9"):
        found["warning"] = (
            "torch 2.9 is slow at 3D convolutions; install another version, 2.6 or later"
        )
    return found


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
