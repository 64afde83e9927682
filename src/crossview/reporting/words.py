"""Numbers as text: Dice in per cent and distances with two decimals, times in hours and minutes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NOTHING = "–"
METHODS = {
    "cml": "CML",
    "bcp": "BCP",
    "ua_mt": "UA-MT",
    "urpc": "URPC",
    "ss_net": "SS-Net",
    "mc_net": "MC-Net",
    "mean_teacher": "Mean Teacher",
    "dtc": "DTC",
    "cps": "CPS",
    "cpb": "CPB",
    "supervised": "Supervised",
}
SELECTIONS = {
    "last": "weights of the last step",
    "validation": "selected on validation cases",
    "test": "selected on test, optimistic",
}
OVERLAPS = ("dice", "jaccard")
METRICS = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "hd95": "HD95",
    "asd": "ASD",
    "assd": "ASSD",
    "hd95_penalised": "HD95, misses penalised",
}


def number(value: Any) -> float | None:
    """Return a value of JSON or CSV as a finite number, or None for anything else."""
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def percent(value: Any) -> str:
    """Format a fraction in per cent: 0.9036 -> "90.36"."""
    found = number(value)
    return NOTHING if found is None else f"{100 * found:.2f}"


def in_text(value: Any) -> str:
    """Format a fraction for a sentence: 0.9036 -> "90.36 %", with a non-breaking space."""
    return f"{percent(value)}\u00a0%"


def points(value: Any) -> str:
    """Format a difference of Dice in percentage points with its sign: 0.021 -> "+2.10"."""
    found = number(value)
    return NOTHING if found is None else f"{100 * found:+.2f}".replace("-", "−")


def distance(value: Any) -> str:
    found = number(value)
    return NOTHING if found is None else f"{found:.2f}"


def metric(name: str, value: Any) -> str:
    """Format a score: overlaps in per cent, distances unchanged."""
    return percent(value) if name in OVERLAPS else distance(value)


def interval(low: Any, high: Any, show: Any = percent) -> str:
    """Format an interval: "88.90 to 91.60"; "" if a bound is missing."""
    return "" if number(low) is None or number(high) is None else f"{show(low)} to {show(high)}"


def duration(seconds: Any) -> str:
    """Format seconds: 4000 -> "1 h 7 min"."""
    found = number(seconds)
    if found is None:
        return NOTHING
    if found < 60:
        return f"{found:.0f} s" if found >= 10 else f"{found:.1f} s"
    minutes, rest = divmod(round(found), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def count(amount: int, noun: str) -> str:
    """Format a count: "1 case", "20 cases"."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def listed(names: list[str], most: int = 6) -> str:
    """Format a list: "a, b and c". Names beyond ``most`` are counted."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def method_name(name: str) -> str:
    return METHODS.get(name, name)


def row_name(label: str) -> str:
    """Spell a label's method as usual: "cml labelled only" -> "CML labelled only"."""
    method, space, rest = label.partition(" ")
    bare = method.rstrip(",")
    return method_name(bare) + method[len(bare) :] + space + rest


def table(value: Any) -> Mapping[str, Any]:
    """Return the value if it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}
