"""Plot of the paired differences of a comparison, and a standalone SVG file of all plots."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from crossview.reporting.figures import ticks

WIDTH, ROW, TOP, BOTTOM, RIGHT = 1000, 34, 4, 40, 20
STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; fill: #5a6575; }
.name { fill: #14181f; font-size: 13.5px; } .grid { stroke: #e2e6ec; }
.zero { stroke: #5a6575; stroke-dasharray: 4 3; }
.interval { stroke-width: 4; stroke-linecap: round; opacity: .5; }
.interval.c1 { stroke: #0072b2; } .interval.c8 { stroke: #707b8a; }
.c1 { fill: #0072b2; } .c8 { fill: #707b8a; } .seed { fill: #5a6575; }
"""
"""Colours of the page, for a file without the style sheet."""


@dataclass(frozen=True)
class Compared:
    """Difference of a row from its baseline: mean and interval of Dice, as fractions.

    aside: True for a reference, which is drawn grey.
    """

    name: str
    mean: float
    span: tuple[float, float]
    aside: bool = False


def difference_plot(rows: Sequence[Compared], baseline: str) -> Markup:
    """Draw each method's difference from the baseline in points of Dice, with zero marked.

    An interval that crosses zero shows no difference.
    """
    left = min(260, 24 + 8 * max(len(name) for name in (baseline, *(row.name for row in rows))))
    height = ROW * len(rows) + 48
    low, high = (
        100 * min(0.0, *(row.span[0] for row in rows)),
        100 * max(0.0, *(row.span[1] for row in rows)),
    )
    room = max(0.5, 0.05 * (high - low))
    low, high = low - room, high + room

    def across(points: float) -> float:
        return left + (points - low) / (high - low) * (WIDTH - RIGHT - left)

    parts = [
        _line(across(value), across(value), TOP, height - BOTTOM, "grid")
        for value in ticks(low, high, 8)
    ]
    parts += [
        _text(across(value), height - 24, f"{value:+g}" if abs(value) > 1e-9 else "0")
        for value in ticks(low, high, 8)
    ]
    parts.append(_line(across(0), across(0), TOP, height - BOTTOM, "stage zero"))
    parts.append(
        _text((left + WIDTH - RIGHT) / 2, height - 5, f"Dice against {baseline}, in points", "axis")
    )
    for place, row in enumerate(rows):
        y, colour = 22 + ROW * place, "c8" if row.aside else "c1"
        parts.append(
            _text(
                left - 14,
                y + 4,
                row.name if len(row.name) <= 28 else row.name[:27] + "…",
                "name",
                "end",
            )
        )
        parts.append(
            _line(across(100 * row.span[0]), across(100 * row.span[1]), y, y, f"interval {colour}")
        )
        hint = (
            f"<title>{escape(row.name)}: {100 * row.mean:+.2f} "
            f"({100 * row.span[0]:+.2f} to {100 * row.span[1]:+.2f})</title>"
        )
        parts.append(
            f'<circle cx="{across(100 * row.mean):.1f}" cy="{y}" r="6" class="{colour}">'
            f"{hint}</circle>"
        )
    label = f"differences of Dice against {baseline}, with their 95 % intervals"
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def standalone(plots: Sequence[Markup], title: str) -> str:
    """Stack plots of width :data:`WIDTH` into one SVG file, on white, with its own colours."""
    parts, top = [], 0.0
    for plot in plots:
        found = re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', plot)
        height = float(found[1]) if found else 0.0
        parts.append(
            str(plot).replace(
                "<svg ", f'<svg x="0" y="{top + 8:g}" width="{WIDTH}" height="{height:g}" ', 1
            )
        )
        top += height + 16
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top:g}" '
        f'width="{WIDTH}" height="{top:g}">'
    )
    ground = (
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
        '<rect width="100%" height="100%" fill="#ffffff"/>'
    )
    return f"{head}{ground}{''.join(parts)}</svg>\n"


def _line(x1: float, x2: float, y1: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _text(x: float, y: float, text: str, kind: str = "tick", anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
    )
