"""Charts as inline SVG, drawn without a plotting library.

They are small and sharp in print; the page's style sheet colours them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from markupsafe import Markup

WIDTH, HEIGHT = 520, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 22, 40
SMALLEST = 1e-12
"""Smallest value on a logarithmic axis, and smallest range of a linear one."""
MOST_POINTS = 260
"""Points of a drawn series: a longer series is averaged over this many stretches."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Line of a chart. colour: 1 to 8, of the style sheet."""

    name: str
    points: Sequence[Point]
    colour: int = 1
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """Drawn chart with its title and legend: (name, colour, dashed)."""

    title: str
    svg: Markup
    legend: tuple[tuple[str, int, bool], ...] = ()


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Return ``most`` points or fewer: a longer series is averaged over equal stretches."""
    if len(points) <= most:
        return list(points)
    edges = [round(index * len(points) / most) for index in range(most + 1)]
    stretches = [points[start:end] for start, end in pairwise(edges)]
    return [
        (sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part))
        for part in stretches
    ]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return the multiples, from ``low`` to ``high``, of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """Return a tick's label: 12000 as 12k, 0.00001 as 1e-5."""
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value / 1000:g}k" if abs(value) >= 10000 else f"{value:g}"


@dataclass(frozen=True)
class _Scale:
    """Scale of an axis, from values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        if self.log:
            share = (math.log10(value) - math.log10(self.low)) / (
                math.log10(self.high) - math.log10(self.low)
            )
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def _text(x: float, y: float, text: str, kind: str = "tick", anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _svg(width: float, height: float, parts: Sequence[str], label: str) -> Markup:
    body = "".join(parts)
    return Markup(
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
        f"{body}</svg>"
    )


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    boundaries: Sequence[tuple[float, str]] = (),
    last: float = 0.0,
    limits: tuple[float, float] | None = None,
    log: bool = False,
    show: Callable[[float], str] = short,
) -> Chart:
    """Draw lines over training steps, at least up to step ``last``.

    Args:
        title: Title and accessible label.
        series: The lines; those without points are skipped.
        boundaries: (first step, name) of each stage.
        last: Smallest end of the x axis.
        limits: Limits of the y axis; from the values by default.
        log: True for a logarithmic y axis; values of 0 and below are not drawn.
        show: Formats ticks and values.
    """
    lines = [
        Series(line.name, thin(line.points), line.colour, line.dashed)
        for line in series
        if line.points
    ]
    values = [y for line in lines for _, y in line.points if not log or y > SMALLEST]
    last = max([last, *(x for line in lines for x, _ in line.points)])
    low, high = limits or _limits(values, log)
    across = _Scale(0.0, max(last, 1.0), LEFT, WIDTH - RIGHT)
    up = _Scale(low, high, HEIGHT - BOTTOM, TOP, log)
    parts = [*_grid(across, up, show), *_stages(boundaries, across)]
    for line in lines:
        kept = [(x, y) for x, y in line.points if not log or y > SMALLEST]
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in kept)
        style = f"line c{line.colour}" + (" dashed" if line.dashed else "")
        parts.append(
            f'<polyline points="{path}" class="{style}">'
            f"<title>{escape(line.name)}</title></polyline>"
        )
        if len(kept) <= 40:
            parts += [
                f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="2.6" class="c{line.colour}">'
                f"<title>{escape(line.name)}, step {x:,.0f}: {show(y)}</title></circle>"
                for x, y in kept
            ]
    legend = tuple((line.name, line.colour, line.dashed) for line in lines)
    return Chart(title, _svg(WIDTH, HEIGHT, parts, title), legend if len(lines) > 1 else ())


def _limits(values: Sequence[float], log: bool) -> tuple[float, float]:
    """Return limits of the y axis. A linear axis includes 0; a few outliers do not extend it."""
    if not values:
        return (1e-3, 1.0) if log else (0.0, 1.0)
    if log:
        low, high = (
            10 ** math.floor(math.log10(min(values)) + 1e-9),
            10 ** math.ceil(math.log10(max(values)) - 1e-9),
        )
        return (low, high) if high > low else (low / 10, high * 10)
    ordered = sorted(values)
    low, high, usual = (
        min(0.0, ordered[0]),
        max(0.0, ordered[-1]),
        ordered[int(0.98 * (len(ordered) - 1))],
    )
    high = 1.3 * usual if 0 < 4 * usual < high else high
    return low, high + 0.05 * (high - low) if high - low > SMALLEST else low + 1.0


def _grid(across: _Scale, up: _Scale, show: Callable[[float], str]) -> list[str]:
    parts = []
    if up.log:
        powers = [
            10.0**power
            for power in range(round(math.log10(up.low)), round(math.log10(up.high)) + 1)
        ]
        levels = powers[:: -(-len(powers) // 6)]
    else:
        levels = ticks(up.low, up.high, 5)
    for value in levels:
        y = up(value)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
        )
        parts.append(_text(LEFT - 7, y + 4, show(value), anchor="end"))
    parts += [
        _text(across(value), HEIGHT - BOTTOM + 17, short(value))
        for value in ticks(across.low, across.high)
    ]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "training step", "axis"))
    return parts


def _stages(boundaries: Sequence[tuple[float, str]], across: _Scale) -> list[str]:
    parts = []
    for start, name in boundaries:
        x = across(start)
        if start > 0:
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" '
                f'y1="{TOP - 8}" y2="{HEIGHT - BOTTOM}" class="stage"/>'
            )
        late = x > WIDTH - 90
        parts.append(
            _text(
                x + (-5 if late else 5 if start > 0 else 1),
                TOP - 8,
                name,
                "axis",
                "end" if late else "start",
            )
        )
    return parts


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
    low, high = _overlap_limits([mark.value for mark in marks])
    across = _Scale(low, high, 16, width - 16)
    parts = []
    for value in ticks(low, high, 6):
        parts.append(
            f'<line x1="{across(value):.1f}" x2="{across(value):.1f}" '
            f'y1="6" y2="{height - 22}" class="grid"/>'
        )
        parts.append(_text(across(value), height - 6, f"{100 * value:g}"))
    radius, piled = 0.0, []
    for radius in (5.0, 4.0, 3.2, 2.4):
        piled = _piled(marks, across, radius)
        if max((lift for _, _, lift in piled), default=0.0) < HIGHEST:
            break
    for mark, x, lift in piled:
        dot = (
            f'<circle cx="{x:.1f}" cy="{base - lift:.1f}" r="{radius:g}" class="dot c1">'
            f"<title>{escape(mark.text)}</title></circle>"
        )
        parts.append(f'<a href="{escape(mark.link)}">{dot}</a>' if mark.link else dot)
    if span is not None:
        parts.append(
            f'<line x1="{across(span[0]):.1f}" x2="{across(span[1]):.1f}" '
            f'y1="{base + 20}" y2="{base + 20}" class="interval c2"/>'
        )
    if mean is not None:
        parts.append(
            f'<circle cx="{across(mean):.1f}" cy="{base + 20}" r="6" class="c2">'
            f"<title>mean {100 * mean:.2f} %</title></circle>"
        )
    return _svg(width, height, parts, label)


HIGHEST = 62.0
"""Largest height of a pile of dots in pixels. Higher piles are redrawn with smaller dots."""


def _piled(marks: Sequence[Mark], across: _Scale, radius: float) -> list[tuple[Mark, float, float]]:
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


def _overlap_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return round limits of a Dice axis, within 0 to 1, that include all values."""
    if not values:
        return 0.0, 1.0
    room = max(0.02, 0.06 * (max(values) - min(values)))
    low, high = max(0.0, min(values) - room), min(1.0, max(values) + room)
    step = 0.05 if high - low < 0.4 else 0.1
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


@dataclass(frozen=True)
class Compared:
    """Row of a comparison: mean, interval and values of the seeds, Dice in 0 to 1."""

    name: str
    mean: float
    span: tuple[float, float] | None
    seeds: Sequence[float]


def dot_plot(rows: Sequence[Compared], label: str) -> Markup:
    """Draw each method's mean Dice (large dot), its interval (bar) and its seeds (small dots)."""
    left = min(260, 24 + max((8 * len(row.name) for row in rows), default=0))
    width, height = 1000, 34 * len(rows) + 48
    low, high = _overlap_limits(
        [value for row in rows for value in (row.mean, *(row.span or ()), *row.seeds)]
    )
    across = _Scale(low, high, left, width - 20)
    parts = []
    for value in ticks(low, high, 8):
        parts.append(
            f'<line x1="{across(value):.1f}" x2="{across(value):.1f}" '
            f'y1="4" y2="{height - 40}" class="grid"/>'
        )
        parts.append(_text(across(value), height - 24, f"{100 * value:g}"))
    parts.append(_text((left + width - 20) / 2, height - 5, "Dice in %", "axis"))
    for place, row in enumerate(rows):
        y = 22 + 34 * place
        name = row.name if len(row.name) <= 28 else row.name[:27] + "…"
        parts.append(_text(left - 14, y + 4, name, "name", "end"))
        if row.span:
            parts.append(
                f'<line x1="{across(row.span[0]):.1f}" x2="{across(row.span[1]):.1f}" '
                f'y1="{y}" y2="{y}" class="interval c1"/>'
            )
        hint = f"<title>{escape(row.name)}: {100 * row.mean:.2f} %</title>"
        parts.append(
            f'<circle cx="{across(row.mean):.1f}" cy="{y}" r="6" class="c1">{hint}</circle>'
        )
        parts += [
            f'<circle cx="{across(seed):.1f}" cy="{y + 10}" r="3" class="seed">'
            f"<title>{100 * seed:.2f} %</title></circle>"
            for seed in row.seeds
        ]
    return _svg(width, height, parts, label)
