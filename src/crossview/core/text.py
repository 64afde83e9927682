"""Numbers, lists, counts and durations in words."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

NOTHING = "–"
"""Text of a number that is missing or not finite."""

MOST_LISTED = 10
"""Most names listed in one problem."""


def table(value: Any) -> Mapping[str, Any]:
    """Return the value if it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def array(value: Any) -> list[Any]:
    """Return the value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def number(value: Any) -> float | None:
    """Return a value of JSON or CSV as a finite number, or None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):  # a whole number beyond the largest float
        return None
    return found if math.isfinite(found) else None


def distance(value: Any) -> str:
    """Format a distance: 4.5 -> "4.50"."""
    found = number(value)
    return NOTHING if found is None else f"{found:.2f}"


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


def interval(low: Any, high: Any, show: Callable[[Any], str] = percent) -> str:
    """Format an interval: "88.90 to 91.60"; "" if a bound is missing."""
    return "" if number(low) is None or number(high) is None else f"{show(low)} to {show(high)}"


def duration(seconds: Any) -> str:
    """Format seconds: 4000 -> "1 h 6 min"."""
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


def same_in_print(name: str, others: Iterable[str]) -> str:
    """Return a name that looks like another but is composed of other characters, or "".

    macOS and some zip programs write é as e and an accent, two characters.
    """
    shown = unicodedata.normalize("NFC", name)
    return next(
        (each for each in others if each != name and unicodedata.normalize("NFC", each) == shown),
        "",
    )


COMPOSED = (
    "the two names look alike but are composed of different characters (an accent of its own, as "
    "macOS writes it): write both in one way"
)


def first_few(names: Sequence[str], most: int = MOST_LISTED) -> str:
    """Return the first names and the number of the others: "a, b and 7 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def values_in_words(values: Sequence[int]) -> str:
    """Format label values: "values 0, 1, 2", or "76 values from 0 to 212" if they are many."""
    if len(values) > MOST_LISTED:
        return f"{len(values)} values from {min(values)} to {max(values)}"
    return f"value{'s' if len(values) > 1 else ''} {', '.join(map(str, sorted(values)))}"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Format a list for a sentence: "a, b and c"."""
    if len(names) > most or len(names) < 2:
        return first_few(names, most)
    return f"{', '.join(names[:-1])} and {names[-1]}"
