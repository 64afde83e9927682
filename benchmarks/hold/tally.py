"""Counts of what a campaign saw of each command, with the first faults in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

KEPT = 12
"""Faults of a command that are kept in words."""


@dataclass
class Tally:
    """A count of faults by kind; a campaign adds a field for each."""

    faults: list[str] = field(default_factory=list, kw_only=True)

    def fault(self, kind: str, text: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        self.faults = [*self.faults, f"{kind}: {text}"][:KEPT]


def table(found: dict[str, Any], head: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return a table with a row per tally and their sum."""
    lines = [(name, *(tally[column] for column in columns)) for name, tally in found.items()]
    total = ("all", *(sum(tally[column] for tally in found.values()) for column in columns))
    return [(head, *(name.replace("_", " ") for name in columns)), *lines, total]


def failed(found: dict[str, Any]) -> list[str]:
    """Return what did not hold; a command of which nothing was tried has shown nothing."""
    faults = [f"{name}: {fault}" for name, tally in found.items() for fault in tally["faults"]]
    untried = [name for name, tally in found.items() if not _counts(tally)]
    return [*faults, *(f"{name}: nothing was tried" for name in untried or ["all"][: not found])]


def _counts(tally: dict[str, Any]) -> bool:
    return any(isinstance(value, int) and value for value in tally.values())
