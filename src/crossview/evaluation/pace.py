"""Training time of a finished run without what other programs took from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from crossview.core.text import number
from crossview.evaluation.record import Record, Results, run_or_record

UNDISTURBED = 10
"""Percentile of the seconds per step that counts as the pace of a stage."""

FEWEST_INTERVALS = 5
"""Fewest logged intervals of a stage from which a pace is taken."""


def undisturbed_seconds(path: Path) -> float:
    """Return the seconds that a run's steps take at the pace of its least disturbed ones.

    Each stage has its own pace, the 10th percentile over the intervals of the journal. Of a run
    with too few intervals it is the recorded time.

    Raises:
        UserError: If it is no finished run, or has no evaluation.
    """
    source = run_or_record(path)
    results = Results.of(source, "test")
    if isinstance(source, Record):
        paces = _paces(source.content.get("steps", []))
    else:
        paces = _paces(source.journal.of("step"))
    if not paces or min(len(of_stage) for of_stage in paces.values()) < FEWEST_INTERVALS:
        return results.seconds
    steps = {stage: sum(steps for steps, _ in found) for stage, found in paces.items()}
    seconds = sum(
        steps[stage] * float(np.percentile([pace for _, pace in found], UNDISTURBED))
        for stage, found in paces.items()
    )
    return seconds * results.steps / sum(steps.values())


def _paces(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Return (steps, seconds per step) of each interval between two rows of a stage."""
    found: dict[str, list[tuple[int, float]]] = {}
    for before, after in pairwise(rows):
        start, end = number(before.get("seconds")), number(after.get("seconds"))
        steps = int(after.get("total_step", 0)) - int(before.get("total_step", 0))
        if start is None or end is None or steps < 1 or before.get("stage") != after.get("stage"):
            continue
        found.setdefault(str(after.get("stage")), []).append((steps, (end - start) / steps))
    return found
