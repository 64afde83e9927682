"""The choice of a minimum volume as a table, and what to type next."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from crossview.cli.views import table
from crossview.core.text import NOTHING, number, percent, points
from crossview.evaluation.minimum_volume import Choice
from crossview.evaluation.patients import cases_of
from crossview.runs.minimum_volume import Choices


def choices_table(found: Choices) -> RenderableType:
    """Return a row per class: the best volume, and what it gains."""
    unit = found.unit
    title = f"minimum volume on validation: {cases_of(found.cases, found.patients)}"
    columns = ("", f"best, {unit}", "Dice %", "without", "difference [95%]", "smallest label")
    return Group(
        Text(title, "bold"),
        table(columns, map(_row, found.classes)),
        *(Text(note, "dim") for note in _notes(found)),
    )


def _row(choice: Choice) -> tuple[str, ...]:
    by = choice.difference
    smallest = number(choice.smallest)
    return (
        choice.name,
        f"{choice.volume:g}" if choice.volume else "none",
        percent(max(choice.dice)),
        percent(choice.dice[0]),
        f"{points(by.mean)} [{points(by.low)}, {points(by.high)}]" if by else NOTHING,
        NOTHING if smallest is None else f"{smallest:.4g}",
    )


def _notes(found: Choices) -> Iterator[str]:
    yield (
        "Pieces below the best volume become background. The difference is fair: each patient is "
        "scored with the volume that is best for the others. A case in which rightly nothing is "
        "left counts as 100."
    )
    yield from found.notes
    if not any(found.advised):
        yield "No volume is better than none by more than chance: keep all pieces."
        return
    yield (
        "Better by more than chance: add --minimum-volume "
        f"{','.join(f'{each:g}' for each in found.advised)} to predict and evaluate."
    )
    small = [each.name for each in found.classes if each.useful and each.smallest < each.volume]
    if small:
        yield f"Labelled pieces smaller than that can't be found any more: {', '.join(small)}."
