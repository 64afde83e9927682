"""The environment of a result: all that it depends on besides the recipe."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

import crossview


def environment_now(device: torch.device) -> dict[str, Any]:
    """Return what a result depends on besides its recipe: versions, device, threads, commit."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "crossview": crossview.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "commit": crossview.commit(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
