"""Table and plots of a comparison, as a separate page or at the top of a run's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from crossview.evaluation.bootstrap import p_text
from crossview.files import write_text
from crossview.reporting import plots
from crossview.reporting.figures import Compared, dot_plot
from crossview.reporting.page import render
from crossview.reporting.verdict import is_optimistic
from crossview.reporting.words import (
    distance,
    duration,
    interval,
    number,
    percent,
    points,
    row_name,
)


@dataclass(frozen=True)
class ComparisonTable:
    """Contents of a comparison page.

    Attributes:
        rows: One row per method and setting. Any key may be missing or None; overlaps are 0 to 1.

            - method, setting, seeds, steps, seconds, selection.
            - dice, jaccard, hd95, asd: means. hd95_left_out, asd_left_out: predictions without a
              surface distance.
            - sd_seeds, ci_low, ci_high: standard deviation over seeds and interval of Dice.
            - difference, difference_low, difference_high: Dice minus the baseline's. The baseline
              has none and is the first row of its setting.
            - verdict: "better", "worse", "reference", "one seed" or other words. Without it the
              interval of the difference decides.
            - p, p_alone: with and without Holm's correction.
            - baseline: False for a row that has no difference and is not the baseline.
            - empty: a number, a list, or numbers by kind.
            - classes: the mean of each metric by class name, if there are several classes.
        points: One entry per run, with method, setting, seed and dice.
        notes: Sentences below the table.
        unit: Unit of the distances.
    """

    rows: Sequence[Mapping[str, Any]]
    points: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    unit: str = "voxel"


def write_comparison(
    comparison: ComparisonTable,
    path: Path,
    *,
    title: str = "Comparison",
    about: str = "",
    plot: bool = True,
) -> Path:
    """Write a comparison as a self-contained HTML page.

    Args:
        comparison: The rows, points and notes to show.
        path: The file to write.
        title: Title of the page.
        about: Sentence below the title.
        plot: False omits the plots.

    Returns:
        The path of the page.
    """
    content = comparison_section(comparison, plot=plot)
    return write_text(
        path, render("comparison.html.j2", title=title, about=about, comparison=content)
    )


def comparison_section(comparison: ComparisonTable, *, plot: bool = True) -> dict[str, Any]:
    """Return the contents of the template: cells as text, sentences and plots."""
    settings = {row.get("setting") for row in comparison.rows}
    names = [_name(row, len(settings) > 1) for row in comparison.rows]
    return {
        "rows": [_cells(row) for row in comparison.rows],
        "settings": len(settings) > 1,
        "several_seeds": any((_seeds(row) or 1) > 1 for row in comparison.rows),
        "sentences": _sentences(comparison.rows, names),
        "notes": list(comparison.notes),
        "unit": comparison.unit,
        "optimistic": any(is_optimistic(row) for row in comparison.rows),
        "plot": _plot(comparison, names) if plot else None,
        "differences": _differences(comparison, names) if plot else None,
    }


def comparison_svg(comparison: ComparisonTable, title: str) -> str:
    """Return both plots of a comparison as one SVG file."""
    content = comparison_section(comparison)
    return plots.standalone(
        [plot for plot in (content["plot"], content["differences"]) if plot is not None], title
    )


def _name(row: Mapping[str, Any], with_setting: bool) -> str:
    name = row_name(str(row.get("method", "")))
    return f"{name}, {row.get('setting')}" if with_setting else name


def _seeds(row: Mapping[str, Any]) -> int | None:
    """Return the number of seeds in a row, which has them as a number or a list."""
    seeds = row.get("seeds")
    return (
        len(seeds)
        if isinstance(seeds, list | tuple)
        else None
        if number(seeds) is None
        else int(seeds or 0)
    )


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": _name(row, with_setting=False),
        "setting": row.get("setting", ""),
        "seeds": _seeds(row),
        "steps": row.get("steps"),
        "selection": row.get("selection", ""),
        "optimistic": is_optimistic(row),
        "dice": percent(row.get("dice")),
        "interval": interval(row.get("ci_low"), row.get("ci_high")),
        "sd_seeds": percent(row.get("sd_seeds")),
        "difference": _difference(row),
        "difference_interval": interval(
            row.get("difference_low"), row.get("difference_high"), points
        ),
        "clear": _direction(row),
        "jaccard": percent(row.get("jaccard")),
        "hd95": distance(row.get("hd95")),
        "hd95_left_out": row.get("hd95_left_out") or 0,
        "asd": distance(row.get("asd")),
        "asd_left_out": row.get("asd_left_out") or 0,
        "empty": _empty(row.get("empty")),
        "classes": [_class(name, found) for name, found in (row.get("classes") or {}).items()],
        "seconds": duration(row.get("seconds")),
    }


def _class(name: str, found: Mapping[str, Any]) -> dict[str, str]:
    overlaps, distances = ("dice", "jaccard"), ("hd95", "asd")
    return {
        "name": name,
        **{key: percent(found.get(key)) for key in overlaps},
        **{key: distance(found.get(key)) for key in distances},
    }


def _difference(row: Mapping[str, Any]) -> str:
    """Return the difference in points; "baseline" if there is none and the row allows it."""
    if number(row.get("difference")) is not None:
        return points(row["difference"])
    return "baseline" if row.get("baseline", True) else ""


def _empty(found: Any) -> str:
    """Return the number of empty cases, or the number per kind if the row has them by kind."""
    if isinstance(found, Mapping):
        return (
            ", ".join(
                f"{kind} {count}".replace("_", " ").replace(" ", "\u00a0")
                for kind, count in found.items()
            )
            or "none"
        )
    if isinstance(found, list | tuple):
        return str(len(found))
    return "" if found is None else str(found)


def _direction(row: Mapping[str, Any]) -> str:
    """Return "better" or "worse" by the verdict, else by the difference's interval; else ""."""
    if row.get("verdict"):
        return str(row["verdict"]) if row["verdict"] in ("better", "worse") else ""
    low, high = number(row.get("difference_low")), number(row.get("difference_high"))
    if low is None or high is None or low <= 0 <= high:
        return ""
    return "better" if low > 0 else "worse"


def _sentences(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Return the table in words. A row is called better only if its interval excludes zero."""
    sentences = []
    for row, name in zip(rows, names, strict=True):
        span = interval(row.get("difference_low"), row.get("difference_high"), points)
        if number(row.get("difference")) is None or not span:
            continue
        alike = [
            other
            for place, other in enumerate(names)
            if rows[place].get("setting") == row.get("setting")
        ]
        figures = f"{points(row['difference'])} points of Dice, 95 % interval {span}"
        if row.get("verdict") == "reference":
            sentences.append(
                f"{name} (a reference, not a competitor) against {alike[0]}: {figures}."
            )
            continue
        if row.get("verdict") == "one seed":
            chance = "The interval covers the scans only; other seeds may differ by as much"
            sentences.append(
                f"{name} against {alike[0]}, one seed, so no verdict: {figures}. {chance}."
            )
            continue
        words = {
            "better": "is better than",
            "worse": "is worse than",
            "": "shows no clear difference from",
        }[_direction(row)]
        p = number(row.get("p"))
        after = _after_correction(row) or ("" if p is None else f", {p_text(p)}")
        sentences.append(f"{name} {words} {alike[0]}: {figures}{after}.")
    return sentences


def _after_correction(row: Mapping[str, Any]) -> str:
    """Return the reason why a row has no verdict although its interval excludes zero."""
    low, high, p, alone = (
        number(row.get(key)) for key in ("difference_low", "difference_high", "p", "p_alone")
    )
    if (
        _direction(row)
        or low is None
        or high is None
        or low <= 0 <= high
        or p is None
        or alone is None
    ):
        return ""
    if p <= alone:
        return (
            ". The interval excludes 0, but with this few scans the paired test does not confirm "
            f"the difference ({p_text(p)})"
        )
    return (
        f". The interval excludes 0, but it is for one comparison alone ({p_text(alone)}). "
        f"Corrected for the number of comparisons: {p_text(p)}"
    )


def _plot(comparison: ComparisonTable, names: Sequence[str]) -> Markup | None:
    compared = []
    for row, name in zip(comparison.rows, names, strict=True):
        mean, low, high = (number(row.get(key)) for key in ("dice", "ci_low", "ci_high"))
        if mean is None:
            continue
        runs = [point for point in comparison.points if _belongs(point, row)]
        seeds = [found for point in runs if (found := number(point.get("dice"))) is not None]
        compared.append(
            Compared(
                name,
                mean,
                None if low is None or high is None else (low, high),
                seeds if len(seeds) > 1 else (),
            )
        )
    return (
        dot_plot(compared, "mean Dice of each method with its 95 % interval") if compared else None
    )


def _differences(comparison: ComparisonTable, names: Sequence[str]) -> Markup | None:
    compared = []
    for row, name in zip(comparison.rows, names, strict=True):
        mean, low, high = (
            number(row.get(key)) for key in ("difference", "difference_low", "difference_high")
        )
        if mean is not None and low is not None and high is not None:
            compared.append(
                plots.Compared(name, mean, (low, high), aside=row.get("verdict") == "reference")
            )
    baselines = [
        row_name(str(row.get("method", "")))
        for row in comparison.rows
        if number(row.get("difference")) is None
    ]
    return (
        plots.difference_plot(compared, baselines[0] if baselines else "the baseline")
        if compared
        else None
    )


def _belongs(point: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    return all(point[key] == row.get(key) for key in ("method", "setting") if key in point)
