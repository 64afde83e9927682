"""crossview: semi-supervised medical image segmentation.

The verbs of the command are functions here: ``crossview.train(recipe, data, out)``, ``crossview.evaluate(run)`` and so on.
They are imported when they are first used, so that ``import crossview`` and the command's ``--help`` stay quick.
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
    """The commit of the source tree this runs from, "+" where files differ from it; empty for an installed package.

    Where the tree travels without its history, CROSSVIEW_COMMIT names it.
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
