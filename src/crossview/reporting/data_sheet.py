"""Report section on a user's data: properties of the scans, and the plan with its reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup

from crossview.core.run_folder import RunFolder
from crossview.core.text import number
from crossview.reporting.svg import Chart, short
from crossview.reporting.words import table

AXES = ("left to right", "back to front", "foot to head")


FLAT_AXES = ("downwards", "across")


WIDTH, HEIGHT, TOP, BOTTOM = 300, 132, 8, 34


BINS = 12


LEGEND = (("labelled", 2, False), ("unlabelled", 1, False))


def data_sheet(run: Path) -> dict[str, Any] | None:
    """Return the counts, histograms and (key, value, reason) choices of run/plan.json.

    None if the run was not planned or plan.json cannot be read.
    """
    plan = RunFolder(run).plan
    if not plan:
        return None
    fingerprint = table(plan.get("fingerprint"))
    cases = [case for case in fingerprint.get("cases") or [] if isinstance(case, dict)]
    choices = [
        (str(each.get("key")), _value(each.get("value")), str(each.get("reason")))
        for each in plan.get("choices") or []
    ]
    labelled = sum(bool(case.get("labelled")) for case in cases)
    channels = int(number(fingerprint.get("channels")) or 1)
    kind = "CT (Hounsfield units)" if fingerprint.get("ct") else "no absolute intensity scale"
    about = (
        f"{labelled} labelled and {len(cases) - labelled} unlabelled scans, "
        f"{channels} channel{'s' if channels != 1 else ''}, {kind}."
    )
    charts, same = _charts(cases, channels)
    return {
        "about": about,
        "same": same,
        "device": str(plan.get("device") or ""),
        "choices": choices,
        "charts": charts,
    }


def _value(value: Any) -> str:
    """Return a recipe value on one line, with 4 significant digits."""
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


def _charts(cases: Sequence[Mapping[str, Any]], channels: int) -> tuple[list[Chart], list[str]]:
    """Return histograms of what differs between scans, and in words what is the same in all.

    Per axis: size in voxels and spacing in mm. Per channel: median and 99.5th percentile.
    """
    count = max((len(case.get("shape") or []) for case in cases), default=0)
    names = AXES if count == 3 else FLAT_AXES[:count]
    wanted = [
        (f"voxels {name}", [_at(case.get("shape"), axis) for case in cases])
        for axis, name in enumerate(names)
    ]
    wanted += [
        (f"mm per voxel {name}", [_at(case.get("spacing"), axis) for case in cases])
        for axis, name in enumerate(names)
    ]
    for channel in range(channels):
        of = f" of channel {channel}" if channels > 1 else ""
        percentiles = [_at(case.get("percentiles"), channel) for case in cases]
        wanted += [(f"median intensity{of}", [_at(each, 1) for each in percentiles])]
        wanted += [(f"99.5th percentile of intensity{of}", [_at(each, 2) for each in percentiles])]
    marks = [bool(case.get("labelled")) for case in cases]
    charts, same = [], []
    for title, values in wanted:
        known = {found for value in values if (found := number(value)) is not None}
        if len(known) > 1:
            charts.append(histogram(title, values, marks))
        elif known:
            same.append(f"{title}: {_value(known.pop())}")
    return charts, same


def _at(values: Any, index: int) -> Any:
    return values[index] if isinstance(values, list) and index < len(values) else None


def histogram(title: str, values: Sequence[Any], labelled: Sequence[bool]) -> Chart:
    """Return a histogram of a value per scan, labelled scans stacked on the others.

    The value axis is logarithmic if the values span a factor of 100 or more.
    """
    known = [
        (float(found), mark)
        for value, mark in zip(values, labelled, strict=True)
        if (found := number(value)) is not None
    ]
    low, high = min(value for value, _ in known), max(value for value, _ in known)
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
