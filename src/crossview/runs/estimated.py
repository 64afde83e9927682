"""estimated-dice.json: the Dice that predictions are estimated to have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossview.core.files import write_text
from crossview.core.parse import from_json
from crossview.core.run_folder import RunFolder
from crossview.core.text import table
from crossview.evaluation.estimate import Estimate, estimate_of, held_out

FILE = "estimated-dice.json"


@dataclass
class Estimates:
    """Estimates of the predictions in a folder.

    Attributes:
        estimate: Of the run's weights.
        text: What a user must know of them.
        weights: Digest of the weights. Those of other weights are dropped.
        scans: Estimated Dice by the file of the prediction, None if it can't be estimated.
    """

    estimate: Estimate
    text: str
    weights: str
    scans: dict[str, float | None] = field(default_factory=dict)

    def add(self, label: Path, expected: float) -> None:
        """Add a prediction by the Dice that its probabilities promise."""
        self.scans[label.name] = self.estimate.of(expected)

    def write(self, folder: Path) -> Path:
        """Write the estimates, next to those of earlier calls."""
        path, earlier = folder / FILE, {}
        try:
            content = table(from_json(path.read_text(encoding="utf-8")))
            if content.get("weights") == self.weights:
                earlier = dict(table(content.get("scans")))
        except (OSError, ValueError):
            pass
        content = {"estimate": self.text, "weights": self.weights, "scans": earlier | self.scans}
        return write_text(path, json.dumps(content, indent=1) + "\n")


def estimates_of(runs: Sequence[Any], step: int, weights: str) -> tuple[Estimates | None, str]:
    """Return the estimates of a run's predictions, None if there are none, and what to know of it.

    Nothing is said of a model file alone, of the mean of several runs, and of a run with too few
    held-out patients: no user can change that.
    """
    first = runs[0]
    run = first if isinstance(first, RunFolder) else RunFolder(Path(first))
    if len(runs) > 1 or not run.exists or not held_out(run, step):
        return None, ""
    estimate, text = estimate_of(run, step)
    if estimate is None:
        return None, ""
    return (Estimates(estimate, text, weights) if estimate.useful else None), text
