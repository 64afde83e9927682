"""crossview: semi-supervised medical image segmentation.

Every verb of the command is a function here: ``crossview.train(recipe, data, out)``,
``crossview.evaluate(run)`` and so on. Each is imported on first use, so ``import crossview`` and
``crossview --help`` stay fast, and the command heeds Ctrl-C from its first moment.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_VERBS = {
    "check": "crossview.data.checks.dataset",
    "train": "crossview.runs.train",
    "evaluate": "crossview.runs.evaluate",
    "choose_minimum_volume": "crossview.runs.minimum_volume",
    "predict": "crossview.runs.predict",
    "load": "crossview.runs.predict",
    "load_plugin": "crossview.methods.plugin:load",
    "report": "crossview.runs.report",
    "suggest": "crossview.runs.suggest",
    "view": "crossview.runs.view.view",
    "export": "crossview.runs.export",
    "track": "crossview.runs.track.track",
    "Run": "crossview.runs.run",
    "demo": "crossview.runs.bench.demo",
    "trial": "crossview.runs.bench.trial",
    "compare": "crossview.evaluation.compare",
    "bench": "crossview.runs.bench.bench",
    "UserError": "crossview.core.errors",
    "__version__": "crossview.core.environment:VERSION",
}


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        module, _, other_name = _VERBS[name].partition(":")
        return getattr(import_module(module), other_name or name)
    raise AttributeError(f"module 'crossview' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_VERBS])
