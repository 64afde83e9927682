from __future__ import annotations

import math
from typing import Any

NOTHING = "–"


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


MOST_LISTED = 10
"""Most names listed in one problem."""


def first_few(names: list[str]) -> str:
    """Return the first names and the number of the others."""
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more
