"""Findings about this machine: versions, devices, and the precision crossview would choose."""

from __future__ import annotations

import importlib
import shutil
from importlib.metadata import version
from pathlib import Path

import torch

from crossview.environment import environment_now
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
    "rich",
    "matplotlib",
)


def examine() -> dict[str, str]:
    """Return the findings by name, in display order."""
    device = find_device("auto")
    found = {name: str(value) for name, value in environment_now(device).items() if value != ""}
    found |= {name: version(name) for name in LIBRARIES}
    found["disk free"] = f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB"
    if device.type == "cuda":
        found["gpu memory"] = (
            f"{torch.cuda.get_device_properties(device).total_memory / 2**30:.1f} GiB"
        )
    precision, seconds = choose_precision(
        VNet(VNet.Options(filters=8, levels=4), channels=1, classes=2).to(device),
        torch.randn(1, 1, 48, 48, 48, device=device),
    )
    found["precision"] = (
        f"{precision} (a small V-Net, forward and backward: "
        + ", ".join(f"{k} {v:.3f} s" for k, v in seconds.items())
        + ")"
    )
    if torch.__version__.startswith("2.9"):
        found["warning"] = (
            "torch 2.9 is slow at 3D convolutions; install another version, 2.6 or later"
        )
    importlib.import_module("cc3d")
    return found
