"""Plans: keys of a recipe chosen from the fingerprint of a user's scans, each with a reason."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from crossview.data.fingerprint import Fingerprint
from crossview.recipe.layers import Tables


@dataclass(frozen=True)
class Budget:
    """The amount of work that a device handles in reasonable time.

    Attributes:
        name: Name of the device, for reasons.
        voxels: Most voxels of a patch of volumes.
        pixels: Most pixels of a patch of slices.
        filters: Width of the network.
        batch: Labelled volumes per step.
        flat_batch: Labelled slices per step.
        steps: Steps of the whole training.
    """

    name: str
    voxels: int
    pixels: int
    filters: int
    batch: int
    flat_batch: int
    steps: int


CPU = Budget("CPU", 48**3, 192**2, 8, 4, 8, 1500)

GPU = Budget("GPU", 112 * 112 * 80, 384**2, 16, 4, 12, 15000)


@dataclass(frozen=True)
class Needs:
    """The properties of a method that a plan depends on.

    Attributes:
        steps: Shipped steps of its stages, by key.
        unlabelled: True if it trains on unlabelled scans.
        even: True if it mixes the halves of a batch.
        cleans: True if it has the key ``largest_component``.
        waits: True if its labelled stage can wait (``ready_dice``).
        student: True if predictions of another model are taught (``data.predicted``).
        ours: Shipped values of setting "folder" that differ from the published ones, by key.
    """

    steps: Mapping[str, int]
    unlabelled: bool
    even: bool
    cleans: bool
    waits: bool = False
    student: bool = False
    ours: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """A key that the plan sets, e.g. "data.patch", its value, and the reason in a sentence."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Plan:
    """The choices for the keys that a recipe left open, and their basis."""

    choices: tuple[Choice, ...]
    fingerprint: Fingerprint
    budget: Budget

    def tables(self) -> Tables:
        """Return the choices as raw tables of a recipe."""
        tables: Tables = {}
        for choice in self.choices:
            table, _, key = choice.key.partition(".")
            tables.setdefault(table, {})[key] = choice.value
        return tables

    def as_json(self) -> dict[str, Any]:
        """Return the content of RUN/plan.json."""
        return {
            "device": self.budget.name,
            "choices": [asdict(choice) for choice in self.choices],
            "fingerprint": self.fingerprint.as_json(),
        }

    def text(self, width: int = 100) -> str:
        """Return every key with its value and its reason, as lines of text."""
        labelled, scans = self.fingerprint.labelled, len(self.fingerprint.shapes)
        lines = [
            f"planned from {labelled} labelled and {scans - labelled} unlabelled scans, "
            f"for a {self.budget.name}:"
        ]
        for choice in self.choices:
            lines.append(f"  {choice.key} = {json.dumps(choice.value)}")
            indent = " " * 6
            lines += textwrap.wrap(
                choice.reason, width - 6, initial_indent=indent, subsequent_indent=indent
            )
        return "\n".join(lines)
