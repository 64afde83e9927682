"""Charts as inline SVG, drawn without a plotting library.

They are small and sharp in print; the page's style sheet colours them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise

from markupsafe import Markup

WIDTH, HEIGHT = 520, 260

LEFT, RIGHT, TOP, BOTTOM = 52, 12, 22, 40

SMALLEST = 1e-12
"""Smallest value on a logarithmic axis, and smallest range of a linear one."""

MOST_POINTS = 260
"""Points of a drawn series: a longer series is averaged over this many stretches."""

MOST_CIRCLES = 40
"""Points of a drawn series that are marked one by one."""

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


@dataclass(frozen=True)
class Drawing:
    """Drawn elements in a frame of some size in pixels, with an accessible label."""

    width: float
    height: float
    parts: Sequence[str]
    label: str

    def svg(self, attributes: str = "") -> Markup:
        """Return the drawing as an element with more attributes, to place it in another one."""
        return Markup(
            f'<svg {attributes}viewBox="0 0 {self.width:g} {self.height:g}" role="img" '
            f'aria-label="{escape(self.label)}">{"".join(self.parts)}</svg>'
        )


@dataclass(frozen=True)
class Scale:
    """Scale of an axis, from values to pixels. Values beyond its limits stay at its ends."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        to = math.log10 if self.log else float
        share = (to(value) - to(self.low)) / (to(self.high) - to(self.low))
        return self.start + share * (self.end - self.start)


def text(x: float, y: float, words: str, kind: str = "tick", anchor: str = "middle") -> str:
    """Draw a text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def line(x1: float, x2: float, y1: float, y2: float, kind: str) -> str:
    """Draw a straight line."""
    return f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def circle(x: float, y: float, radius: float, kind: str, hint: str) -> str:
    """Draw a dot with a tooltip."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{kind}">'
        f"<title>{escape(hint)}</title></circle>"
    )


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


def value_axis(
    across: Scale, top: float, bottom: float, show: Callable[[float], str], most: int
) -> list[str]:
    """Draw at most about ``most`` vertical grid lines, with their values below."""
    parts = []
    for value in ticks(across.low, across.high, most):
        parts.append(line(across(value), across(value), top, bottom, "grid"))
        parts.append(text(across(value), bottom + 16, show(value)))
    return parts


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
    lines = [replace(each, points=thin(each.points)) for each in series if each.points]
    last = max([last, *(x for each in lines for x, _ in each.points)])
    if log:
        lines = [
            replace(each, points=[(x, y) for x, y in each.points if y > SMALLEST]) for each in lines
        ]
    low, high = limits or _limits([y for each in lines for _, y in each.points], log)
    across = Scale(0.0, max(last, 1.0), LEFT, WIDTH - RIGHT)
    up = Scale(low, high, HEIGHT - BOTTOM, TOP, log)
    parts = [*_grid(across, up, show), *_stages(boundaries, across)]
    for each in lines:
        parts += _line(each, across, up, show)
    legend = tuple((each.name, each.colour, each.dashed) for each in lines)
    return Chart(
        title, Drawing(WIDTH, HEIGHT, parts, title).svg(), legend if len(lines) > 1 else ()
    )


def _line(series: Series, across: Scale, up: Scale, show: Callable[[float], str]) -> list[str]:
    path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in series.points)
    style = f"line c{series.colour}" + (" dashed" if series.dashed else "")
    parts = [
        f'<polyline points="{path}" class="{style}"><title>{escape(series.name)}</title></polyline>'
    ]
    if len(series.points) <= MOST_CIRCLES:
        parts += [
            circle(
                across(x),
                up(y),
                2.6,
                f"c{series.colour}",
                f"{series.name}, step {x:,.0f}: {show(y)}",
            )
            for x, y in series.points
        ]
    return parts


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


def _grid(across: Scale, up: Scale, show: Callable[[float], str]) -> list[str]:
    levels = ticks(up.low, up.high, 5)
    if up.log:
        exponents = range(round(math.log10(up.low)), round(math.log10(up.high)) + 1)
        levels = [10.0**exponent for exponent in exponents[:: -(-len(exponents) // 6)]]
    parts = [text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "training step", "axis")]
    for value in levels:
        parts.append(line(LEFT, WIDTH - RIGHT, up(value), up(value), "grid"))
        parts.append(text(LEFT - 7, up(value) + 4, show(value), anchor="end"))
    return parts + [
        text(across(value), HEIGHT - BOTTOM + 17, short(value))
        for value in ticks(across.low, across.high)
    ]


def _stages(boundaries: Sequence[tuple[float, str]], across: Scale) -> list[str]:
    parts = []
    for start, name in boundaries:
        x = across(start)
        if start > 0:
            parts.append(line(x, x, TOP - 8, HEIGHT - BOTTOM, "stage"))
        if x > WIDTH - 90:
            parts.append(text(x - 5, TOP - 8, name, "axis", "end"))
        else:
            parts.append(text(x + (5 if start > 0 else 1), TOP - 8, name, "axis", "start"))
    return parts
