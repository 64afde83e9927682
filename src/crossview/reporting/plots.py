"""Plots of scores: the cases of a run, and the methods of a comparison with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from crossview.reporting.svg import Drawing, Scale, circle, line, text, value_axis

WIDTH, ROW, RIGHT = 1000, 34, 20
"""Width of an interval plot, height of its rows, and its right margin."""

LONGEST = 28
"""Most letters of a name next to a plot."""

STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; fill: #5a6575; }
.name { fill: #14181f; font-size: 13.5px; } .grid { stroke: #e2e6ec; }
.zero { stroke: #5a6575; stroke-dasharray: 4 3; }
.interval { stroke-width: 4; stroke-linecap: round; opacity: .5; }
.interval.c1 { stroke: #0072b2; } .interval.c8 { stroke: #707b8a; }
.c1 { fill: #0072b2; } .c8 { fill: #707b8a; } .seed { fill: #5a6575; }
"""
"""Colours of the page, for a file without the style sheet."""


HIGHEST = 62.0
"""Largest height of a pile of dots in pixels. Higher piles are redrawn with smaller dots."""


@dataclass(frozen=True)
class Mark:
    """Case in a strip of cases: its value, its tooltip and the target of its link."""

    value: float
    text: str
    link: str = ""


def strip(
    marks: Sequence[Mark], mean: float | None, span: tuple[float, float] | None, label: str
) -> Markup:
    """Draw one dot per case along a Dice axis (0 to 1), with the mean and its interval below."""
    width, height, base = 520, 128, 74
    low, high = overlap_limits([mark.value for mark in marks])
    across = Scale(low, high, 16, width - 16)
    parts = value_axis(across, 6, height - 22, lambda value: f"{100 * value:g}", 6)
    radius, piled = 0.0, []
    for radius in (5.0, 4.0, 3.2, 2.4):
        piled = _piled(marks, across, radius)
        if max((lift for _, _, lift in piled), default=0.0) < HIGHEST:
            break
    for mark, x, lift in piled:
        dot = circle(x, base - lift, radius, "dot c1", mark.text)
        parts.append(f'<a href="{escape(mark.link)}">{dot}</a>' if mark.link else dot)
    if span is not None:
        parts.append(line(across(span[0]), across(span[1]), base + 20, base + 20, "interval c2"))
    if mean is not None:
        parts.append(circle(across(mean), base + 20, 6, "c2", f"mean {100 * mean:.2f} %"))
    return Drawing(width, height, parts, label).svg()


def _piled(marks: Sequence[Mark], across: Scale, radius: float) -> list[tuple[Mark, float, float]]:
    """Return marks with their x and the lift that keeps them from hiding each other, in pixels."""
    placed: list[tuple[Mark, float, float]] = []
    apart = 2 * radius + 0.5
    for mark in sorted(marks, key=lambda each: each.value):
        x, lift = across(mark.value), 0.0
        near = [height for _, other, height in placed if x - other < apart]
        while lift < HIGHEST and any(abs(lift - height) < apart for height in near):
            lift += apart / 3
        placed.append((mark, x, lift))
    return placed


def overlap_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return round limits of a Dice axis, within 0 to 1, that include all values."""
    if not values:
        return 0.0, 1.0
    room = max(0.02, 0.06 * (max(values) - min(values)))
    low, high = max(0.0, min(values) - room), min(1.0, max(values) + room)
    step = 0.05 if high - low < 0.4 else 0.1
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


@dataclass(frozen=True)
class Interval:
    """Row of an interval plot: a large dot with a bar, and small dots below.

    Attributes:
        name: The text next to the row.
        mean: The large dot, a fraction.
        span: The ends of the bar, or None.
        hint: The tooltip of the large dot.
        small: The small dots.
        colour: 1 to 8, of the style sheet.
    """

    name: str
    mean: float
    span: tuple[float, float] | None
    hint: str
    small: Sequence[float] = ()
    colour: int = 1


def interval_plot(
    rows: Sequence[Interval],
    limits: tuple[float, float],
    *,
    axis: str,
    label: str,
    show: Callable[[float], str],
    letters: int = 0,
    zero: bool = False,
) -> Drawing:
    """Draw means with their intervals, one row per method.

    Args:
        rows: The rows from top to bottom.
        limits: The limits of the axis.
        axis: The text below the axis.
        label: The accessible label.
        show: Formats ticks.
        letters: Smallest width of the names in letters, to align several plots.
        zero: True marks zero with a line.
    """
    left = min(260, 24 + 8 * max(letters, *(len(row.name) for row in rows)))
    height = ROW * len(rows) + 48
    across = Scale(*limits, left, WIDTH - RIGHT)
    parts = value_axis(across, 4, height - 40, show, 8)
    parts.append(text((left + WIDTH - RIGHT) / 2, height - 5, axis, "axis"))
    if zero:
        parts.append(line(across(0), across(0), 4, height - 40, "stage zero"))
    for place, row in enumerate(rows):
        y = 22 + ROW * place
        name = row.name if len(row.name) <= LONGEST else row.name[: LONGEST - 1] + "…"
        parts.append(text(left - 14, y + 4, name, "name", "end"))
        parts += _marks(row, across, y)
    return Drawing(WIDTH, height, parts, label)


def _marks(row: Interval, across: Scale, y: float) -> list[str]:
    colour, parts = f"c{row.colour}", []
    if row.span is not None:
        parts.append(line(across(row.span[0]), across(row.span[1]), y, y, f"interval {colour}"))
    parts.append(circle(across(row.mean), y, 6, colour, row.hint))
    return parts + [
        circle(across(value), y + 10, 3, "seed", f"{100 * value:.2f} %") for value in row.small
    ]


def standalone(plots: Sequence[Drawing], title: str) -> str:
    """Stack interval plots into one SVG file, on white, with its own colours."""
    parts, top = [], 0.0
    for plot in plots:
        parts.append(
            plot.svg(f'x="0" y="{top + 8:g}" width="{plot.width:g}" height="{plot.height:g}" ')
        )
        top += plot.height + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top:g}" '
        f'width="{WIDTH}" height="{top:g}"><title>{escape(title)}</title><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )
