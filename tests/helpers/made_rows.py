"""Rows of a comparison, made up."""

from __future__ import annotations

from typing import Any

from crossview.evaluation.bootstrap import Difference
from crossview.evaluation.compare import Comparison
from crossview.evaluation.rows import Row, Spread


def spreads(dice: float = 0.8, left_out: int = 0, seeds: int = 2) -> dict[str, Spread]:
    around = tuple(dice + 0.01 * (seed - (seeds - 1) / 2) for seed in range(seeds))
    return {
        "dice": Spread(dice, around, (dice - 0.04, dice + 0.03)),
        "jaccard": Spread(0.7),
        "hd95": Spread(4.1234, left_out=left_out),
        "asd": Spread(1.5, left_out=left_out),
    }


def made_row(method: str = "supervised", **changes: Any) -> Row:
    """The baseline on two seeds, unless changes say otherwise."""
    values: dict[str, Any] = {
        "method": method,
        "setting": "demo",
        "selection": "last",
        "checkpoint": "last",
        "unit": "mm",
        "seeds": (1, 2),
        "cases": 20,
        "predictions": 40,
        "steps": 600,
        "seconds": 4000.0,
        "metrics": spreads(),
        "classes": {},
        "empty": {},
        "patients": 20,
        "is_baseline": True,
    }
    return Row(**values | changes)


def against_baseline(low: float, high: float, method: str = "cml", **changes: Any) -> Row:
    """Two points above the baseline with an interval; p_alone: p without a correction."""
    difference = Difference(0.02, low, high, changes.pop("p_alone", 0.01))
    values = {"verdict": "better", "is_baseline": False, **changes}
    return made_row(method, differences={"dice": difference}, **values)


def made_comparison(*rows: Row, notes: tuple[str, ...] = ()) -> Comparison:
    baseline = next((row.method for row in rows if row.is_baseline), None)
    return Comparison(rows, (), "test", baseline if len(rows) > 1 else None, notes)
