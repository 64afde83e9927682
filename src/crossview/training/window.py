"""Sums of losses, samples and time between two rows of the journal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from crossview.core.tensors import Batch


@dataclass
class Window:
    """The losses, samples and time since the last row of the journal.

    The losses stay on the device until ``row`` is called. waited: seconds that the loop had waited
    for batches before.
    """

    waited: float = 0.0
    since: float = field(default_factory=time.monotonic)
    steps: int = 0
    samples: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)

    def add(self, terms: Mapping[str, Tensor], batch: Batch) -> None:
        self.steps += 1
        self.samples += len(batch.image) + (
            0 if batch.unlabelled is None else len(batch.unlabelled)
        )
        for name, value in terms.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def row(self, waited: float, processes: int) -> dict[str, Any]:
        terms = {name: value.item() / self.steps for name, value in self.sums.items()}
        seconds = max(1e-9, time.monotonic() - self.since)
        return {
            "loss": sum(terms.values()),
            "terms": terms,
            "samples_per_second": self.samples * processes / seconds,
            "data_wait": min(1.0, (waited - self.waited) / seconds),
        }
