"""Report section on a user's data: properties of the scans, and the plan with its reasons."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from markupsafe import Markup

from crossview.core.text import array, count, number, table
from crossview.reporting.svg import Chart, short

AXES = ("left to right", "back to front", "foot to head")
FLAT_AXES = ("downwards", "across")
WIDTH, HEIGHT, TOP, BOTTOM = 300, 132, 8, 34
BINS = 12
LEGEND = (("labelled", 2, False), ("unlabelled", 1, False))


@dataclass(frozen=True)
class DataSheet:
    """The scans in words, histograms of what differs between them, and the plan.

    Attributes:
        about: A sentence on the scans.
        same: Properties that are the same in all scans.
        charts: A histogram per property that differs.
        device: The device that was planned for.
        choices: (key, value, reason) of the plan.
    """

    about: str
    same: list[str]
    charts: list[Chart]
    device: str
    choices: list[tuple[str, str, str]]


def data_sheet(plan: Mapping[str, Any]) -> DataSheet | None:
    """Return the sheet of plan.json; None if the run was not planned or it cannot be read."""
    if not plan:
        return None
    fingerprint = table(plan.get("fingerprint"))
    cases = [case for case in array(fingerprint.get("cases")) if isinstance(case, dict)]
    labelled = [bool(case.get("labelled")) for case in cases]
    channels = int(number(fingerprint.get("channels")) or 1)
    kind = "CT (Hounsfield units)" if fingerprint.get("ct") else "no absolute intensity scale"
    charts, same = [], []
    for title, values in _properties(cases, channels):
        known = {value for value in values if value is not None}
        if len(known) > 1:
            charts.append(histogram(title, values, labelled))
        elif known:
            same.append(f"{title}: {_value(known.pop())}")
    return DataSheet(
        about=f"{sum(labelled)} labelled and {len(cases) - sum(labelled)} unlabelled scans, "
        f"{count(channels, 'channel')}, {kind}.",
        same=same,
        charts=charts,
        device=str(plan.get("device") or ""),
        choices=[
            (str(each.get("key")), _value(each.get("value")), str(each.get("reason")))
            for each in map(table, array(plan.get("choices")))
        ],
    )


def _value(value: Any) -> str:
    """Return a recipe value on one line, with 4 significant digits."""
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _properties(
    cases: Sequence[Mapping[str, Any]], channels: int
) -> Iterator[tuple[str, list[float | None]]]:
    """Yield each property with its value per scan.

    Per axis: size in voxels or pixels and spacing in mm. Per channel: median and 99.5th percentile.
    """
    axes = max((len(array(case.get("shape"))) for case in cases), default=0)
    element = "pixel" if axes == 2 else "voxel"
    for key, unit in (("shape", f"{element}s"), ("spacing", f"mm per {element}")):
        for axis, name in enumerate(AXES if axes == 3 else FLAT_AXES[:axes]):
            yield f"{unit} {name}", [_at(case.get(key), axis) for case in cases]
    for channel in range(channels):
        of = f" of channel {channel}" if channels > 1 else ""
        for place, name in ((1, "median intensity"), (2, "99.5th percentile of intensity")):
            yield f"{name}{of}", [_at(case.get("percentiles"), channel, place) for case in cases]


def _at(values: Any, *places: int) -> float | None:
    """Return a number in nested lists; None if there is none."""
    for place in places:
        values = values[place] if isinstance(values, list) and place < len(values) else None
    return number(values)


def histogram(title: str, values: Sequence[float | None], labelled: Sequence[bool]) -> Chart:
    """Return a histogram of a value per scan, labelled scans stacked on the others.

    The value axis is logarithmic if the values span a factor of 100 or more.
    """
    known = [
        (value, mark) for value, mark in zip(values, labelled, strict=True) if value is not None
    ]
    low, high = min(known)[0], max(known)[0]
    log = low > 0 and high >= 100 * low
    scale, back = (math.log, math.exp) if log else (float, float)
    start, end = scale(low), scale(high)
    counts = [[0, 0] for _ in range(BINS)]
    for value, mark in known:
        counts[min(BINS - 1, int((scale(value) - start) / (end - start) * BINS))][mark] += 1
    edges = [_round(back(start + (end - start) * index / BINS)) for index in range(BINS + 1)]
    body = "".join([*_bars(counts, edges), *_ends(_round(low), _round(high))])
    svg = Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{body}</svg>'
    )
    return Chart(title + (", logarithmic" if log else ""), svg, LEGEND)


def _bars(counts: Sequence[Sequence[int]], edges: Sequence[str]) -> list[str]:
    tallest, width, base = max(map(sum, counts)), WIDTH / len(counts), HEIGHT - BOTTOM
    parts = []
    for index, (without, with_label) in enumerate(counts):
        hint = (
            f"<title>{edges[index]} to {edges[index + 1]}: "
            f"{with_label} labelled, {without} unlabelled</title>"
        )
        lower, upper = ((base - TOP) * each / tallest for each in (without, with_label))
        for colour, height, top in ((1, lower, base - lower), (2, upper, base - lower - upper)):
            if height:
                place = (
                    f'x="{index * width + 1:.1f}" y="{top:.1f}" '
                    f'width="{width - 2:.1f}" height="{height:.1f}"'
                )
                parts.append(f'<rect {place} class="c{colour}">{hint}</rect>')
    return parts


def _ends(low: str, high: str) -> list[str]:
    base = HEIGHT - BOTTOM
    line = f'<line x1="0" x2="{WIDTH}" y1="{base}" y2="{base}" class="grid"/>'
    ends = [
        f'<text x="{x}" y="{base + 18}" class="tick" text-anchor="{side}">{text}</text>'
        for x, side, text in ((0, "start", low), (WIDTH, "end", high))
    ]
    return [line, *ends]


def _round(value: float) -> str:
    return short(float(f"{value:.4g}"))
