"""Losses, time and samples between two rows of the journal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Window:
    """Sums since the last row. The losses stay on the device until ``row`` is called."""

    since: float = field(default_factory=time.monotonic)
    waited: float = 0.0
    steps: int = 0
    samples: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)

    def add(self, terms: Mapping[str, Tensor], samples: int, waited: float) -> None:
        self.steps, self.samples, self.waited = (
            self.steps + 1,
            self.samples + samples,
            self.waited + waited,
        )
        for name, value in terms.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def row(self) -> dict[str, Any]:
        terms = {name: value.item() / self.steps for name, value in self.sums.items()}
        seconds = max(1e-9, time.monotonic() - self.since)
        return {
            "loss": sum(terms.values()),
            "terms": terms,
            "samples_per_second": self.samples / seconds,
            "data_wait": min(1.0, self.waited / seconds),
        }
