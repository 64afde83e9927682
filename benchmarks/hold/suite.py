"""A suite of made-up volumes that trains in seconds: two methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SUITE = """
name = "tiny"
about = "Two methods."
protocol = "equal"
baseline = "supervised"
seeds = {seeds}
total_steps = {steps}
common = [
{common}]

[[settings]]
name = "tiny"
recipe = "demo"

[[methods]]
label = "supervised"
name = "supervised"

[[methods]]
label = "cml labelled only"
name = "cml"
set = ["method.train_steps=0"]
"""

COMMON = (
    "data.size=16",
    "data.patch=[8,8,8]",
    "data.test=2",
    "data.unlabelled=4",
    "network.filters=2",
    "network.levels=2",
    "training.precision=float32",
    "training.log_every=1",
)
"""Keys of recipe "demo" that make a small run."""


def suite_text(
    seeds: Sequence[int] = (1, 2), steps: int = 4, common: Sequence[str] = COMMON
) -> str:
    lines = "".join(f'  "{key}",\n' for key in common)
    return SUITE.format(seeds=list(seeds), steps=steps, common=lines)


def suite_file(file: Path, text: str) -> Path:
    file.write_text(text)
    return file
