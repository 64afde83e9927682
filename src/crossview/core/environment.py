"""The environment of a result: all that it depends on besides the recipe."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

try:
    VERSION = version("crossview")
except PackageNotFoundError:  # run from a source tree by PYTHONPATH
    VERSION = "0.1.0"


def environment_now(device: torch.device) -> dict[str, Any]:
    """Return what a result depends on besides its recipe: versions, device, threads, commit."""
    import numpy as np
    import torch

    return {
        "crossview": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": str(device),
        "device_name": (
            torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
        ),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "commit": commit(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """Return the commit of the source tree, with "+" if files differ from it.

    The text is empty for an installed package. CROSSVIEW_COMMIT names the commit of a tree that was
    copied without its history.
    """
    if "CROSSVIEW_COMMIT" in os.environ:
        return os.environ["CROSSVIEW_COMMIT"]
    here = Path(__file__).resolve().parents[3]
    if not (here / ".git").exists():
        return ""
    command = ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
