"""crossview: semi-supervised medical image segmentation.

Every verb of the command is a function here: ``crossview.train(recipe, data, out)``,
``crossview.evaluate(run)`` and so on. Each is imported on first use, so ``import crossview`` and
``crossview --help`` stay fast.
"""

from __future__ import annotations

import os
import subprocess
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

try:
    __version__ = version("crossview")
except PackageNotFoundError:  # run from a source tree by PYTHONPATH
    __version__ = "0.1.0"

_VERBS = {
    "check": "crossview.data.check_data",
    "train": "crossview.run",
    "evaluate": "crossview.run",
    "predict": "crossview.run",
    "load": "crossview.model",
    "load_plugin": "crossview.methods.plugin:load",
    "report": "crossview.run",
    "suggest": "crossview.suggesting",
    "Run": "crossview.folder",
    "demo": "crossview.demonstration",
    "compare": "crossview.evaluation.compare",
    "bench": "crossview.runner",
    "UserError": "crossview.errors",
}


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        module, _, other_name = _VERBS[name].partition(":")
        return getattr(import_module(module), other_name or name)
    raise AttributeError(f"module 'crossview' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_VERBS])


def commit() -> str:
    """Return the commit of the source tree, with "+" if files differ from it.

    The text is empty for an installed package. CROSSVIEW_COMMIT names the commit of a tree that was
    copied without its history.
    """
    if "CROSSVIEW_COMMIT" in os.environ:
        return os.environ["CROSSVIEW_COMMIT"]
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--dirty=+"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
