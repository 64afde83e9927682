"""Templates of the HTML pages. Each page is one file; all texts are escaped.

Templates get typed values. The filters write them: ``percent``, ``distance``, ``metric`` (either,
by the name of a metric), ``interval``, ``points``, ``duration``, ``count``, ``thousands`` and
``row_name``.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from crossview.core.environment import VERSION
from crossview.core.text import count, distance, duration, interval, percent, points
from crossview.reporting.words import METRICS, OVERLAPS, metric, row_name


def _interval(span: tuple[float, float] | None, name: str = "dice") -> str:
    """Write a 95 % interval of a metric: "88.90 to 91.60"; "" for None."""
    return interval(*span, percent if name in OVERLAPS else distance) if span else ""


FILTERS = {
    "percent": percent,
    "distance": distance,
    "metric": lambda value, name: metric(name, value),
    "interval": _interval,
    "points": points,
    "duration": duration,
    "count": count,
    "thousands": "{:,}".format,
    "row_name": row_name,
}


def render(template: str, **content: Any) -> str:
    """Render a template of this package to HTML, with texts escaped."""
    environment = Environment(
        loader=PackageLoader("crossview.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.globals |= {"version": VERSION, "METRICS": METRICS, "OVERLAPS": OVERLAPS}
    return environment.get_template(template).render(**content)
