"""The cases of the viewer in their order. Each is opened when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from crossview.reporting.viewer.layers import Opened


@dataclass(frozen=True)
class Listed:
    """A case of the list.

    Attributes:
        name: Its name.
        score: Its mean Dice, or its doubt; None if unknown.
        facts: What its line says: "Dice 84.70 %".
        details: Further scores, by what they are of: (("anterior", "85.10 %"), ...).
        open: Makes its layers. Raises UserError.
    """

    name: str
    open: Callable[[], Opened]
    score: float | None = None
    facts: str = ""
    details: tuple[tuple[str, str], ...] = ()


@dataclass
class Waiting:
    """How far the case is that was opened last: its index, windows done, and all its windows."""

    index: int = -1
    done: int = 0
    total: int = 0

    def start(self, index: int) -> None:
        self.index, self.done, self.total = index, 0, 0

    def __call__(self, done: int, total: int) -> None:
        self.done, self.total = done, total


@dataclass(frozen=True)
class Gallery:
    """Cases in the order in which they are shown, and the headings of the page.

    Opened cases stay in memory, compressed; one is opened at a time.
    """

    title: str
    about: str
    order: str
    cases: Sequence[Listed]
    waiting: Waiting = field(default_factory=Waiting)
    _opened: dict[int, Opened] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def facts(self) -> dict[str, Any]:
        """Return what the page is told of all cases before one is opened."""
        return {
            "title": self.title,
            "about": self.about,
            "order": self.order,
            "cases": [
                {
                    "name": case.name,
                    "score": case.score,
                    "facts": case.facts,
                    "details": case.details,
                }
                for case in self.cases
            ],
        }

    def opened(self, index: int) -> Opened:
        """Return a case, opened on the first call. UserError if it can't be read or predicted."""
        with self._lock:
            if index not in self._opened:
                self.waiting.start(index)
                self._opened[index] = self.cases[index].open()
            return self._opened[index]
