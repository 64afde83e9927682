"""Comparison as a page, at the top of a run's report, as plots, or as a table in a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossview.core.errors import fail
from crossview.core.files import write_text
from crossview.core.text import points
from crossview.evaluation.bootstrap import p_text
from crossview.evaluation.compare import Comparison
from crossview.evaluation.rows import Row
from crossview.evaluation.tables import left_out, unit
from crossview.reporting.plots import Interval, interval_plot, overlap_limits, standalone
from crossview.reporting.svg import Drawing
from crossview.reporting.templates import render
from crossview.reporting.words import row_name

TABLES = (".md", ".csv", ".html", ".svg")


def write_table(
    comparison: Comparison, path: Path, title: str = "Comparison", about: str = ""
) -> Path:
    """Write a comparison as .md, .csv, .html or, for its plots, .svg.

    Args:
        comparison: The comparison to write.
        path: The file. Its suffix selects the format.
        title: Title of the page or the plots.
        about: Sentence below the title of the page.

    Returns:
        The path of the file.

    Raises:
        UserError: If the suffix is not one of the four.
    """
    check_table_name(path)
    if path.suffix == ".md":
        return write_text(path, comparison.markdown())
    if path.suffix == ".csv":
        return write_text(path, comparison.csv())
    section = ComparisonSection.of(comparison)
    if path.suffix == ".svg":
        return write_text(path, standalone(section.plots, title))
    page = render("comparison.html.j2", title=title, about=about, comparison=section)
    return write_text(path, page)


def check_table_name(path: Path) -> None:
    """Raise UserError if the suffix of `path` is not a table format."""
    if path.suffix not in TABLES:
        fail(
            "the table's file has an unknown suffix",
            path,
            expected=f"a file name that ends in {', '.join(TABLES)}",
        )


@dataclass(frozen=True)
class ComparisonSection:
    """A comparison as a section of a page. The template formats the rows.

    Attributes:
        rows: By setting, each with its baseline first.
        unit: The unit of distances.
        sentences: The differences in words.
        notes: Sentences below the table.
        means: The plot of the means; None if none is defined.
        differences: The plot of the differences; None without any.
    """

    rows: Sequence[Row]
    unit: str
    sentences: Sequence[str]
    notes: Sequence[str]
    means: Drawing | None
    differences: Drawing | None

    @classmethod
    def of(cls, comparison: Comparison) -> ComparisonSection:
        """Return the section of a comparison."""
        settings = list(dict.fromkeys(row.setting for row in comparison.rows))
        rows = sorted(
            comparison.rows, key=lambda row: (settings.index(row.setting), not row.is_baseline)
        )
        several = len(settings) > 1
        return cls(
            rows,
            unit(rows),
            _sentences(rows, comparison.baseline or "", several),
            [*left_out(rows), *comparison.notes],
            _means(rows, several),
            _differences(rows, comparison.baseline or "", several),
        )

    @property
    def plots(self) -> list[Drawing]:
        """The plots that there is something to draw for."""
        return [plot for plot in (self.means, self.differences) if plot is not None]


def _name(method: str, row: Row, several: bool) -> str:
    """Return a method's name, with the row's setting if there are several."""
    return f"{row_name(method)}, {row.setting}" if several else row_name(method)


def _sentences(rows: Sequence[Row], baseline: str, several: bool) -> list[str]:
    """Return the differences in words."""
    sentences = []
    for row in rows:
        dice = row.difference
        if dice is None:
            continue
        name, other = _name(row.method, row, several), _name(baseline, row, several)
        span = f"{points(dice.low)} to {points(dice.high)}"
        figures = f"{points(dice.mean)} points of Dice, 95 % interval {span}"
        if row.verdict == "reference":
            sentences.append(f"{name} (a reference, not a competitor) against {other}: {figures}.")
        elif row.verdict == "one seed":
            sentences.append(
                f"{name} against {other}, one seed, so no verdict: {figures}. "
                "The interval covers the scans only; other seeds may differ by as much."
            )
        elif row.verdict in ("better", "worse"):
            sentences.append(f"{name} is {row.verdict} than {other}: {figures}{_p(row)}.")
        else:
            sentences.append(f"{name} shows no clear difference from {other}: {figures}{_p(row)}.")
    return sentences


def _p(row: Row) -> str:
    """Return the p-value and, if the interval alone would show a difference, why it does not."""
    dice, p = row.difference, row.p
    if dice is None or p is None:
        return ""
    if row.verdict != "no difference shown" or dice.low <= 0 <= dice.high:
        return f", {p_text(p)}"
    if p <= dice.p:
        return (
            ". The interval excludes 0, but with this few scans the paired test does not confirm "
            f"the difference ({p_text(p)})"
        )
    return (
        f". The interval excludes 0, but it is for one comparison alone ({p_text(dice.p)}). "
        f"Corrected for the number of comparisons: {p_text(p)}"
    )


def _means(rows: Sequence[Row], several: bool) -> Drawing | None:
    drawn = []
    for row in rows:
        dice, name = row.metrics["dice"], _name(row.method, row, several)
        if not math.isnan(dice.mean):
            seeds = dice.seeds if len(dice.seeds) > 1 else ()
            hint = f"{name}: {100 * dice.mean:.2f} %"
            drawn.append(Interval(name, dice.mean, dice.ci95, hint, seeds))
    if not drawn:
        return None
    return interval_plot(
        drawn,
        overlap_limits([end for row in drawn for end in (row.mean, *(row.span or ()), *row.small)]),
        axis="Dice in %",
        label="mean Dice of each method with its 95 % interval",
        show=lambda value: f"{100 * value:g}",
    )


def _differences(rows: Sequence[Row], baseline: str, several: bool) -> Drawing | None:
    """Draw the differences, references in grey. An interval that crosses zero shows none."""
    drawn = []
    for row in rows:
        if (dice := row.difference) is not None:
            name = _name(row.method, row, several)
            mean, low, high = (f"{100 * value:+.2f}" for value in (dice.mean, dice.low, dice.high))
            hint, colour = f"{name}: {mean} ({low} to {high})", 8 if row.reference else 1
            drawn.append(Interval(name, dice.mean, (dice.low, dice.high), hint, colour=colour))
    if not drawn:
        return None
    ends = [0.0, *(end for row in drawn for end in row.span or ())]
    room = max(0.005, 0.05 * (max(ends) - min(ends)))
    name = row_name(baseline)
    return interval_plot(
        drawn,
        (min(ends) - room, max(ends) + room),
        letters=max(len(_name(row.method, row, several)) for row in rows),
        axis=f"Dice against {name}, in points",
        label=f"differences of Dice against {name}, with their 95 % intervals",
        show=lambda value: f"{100 * value:+g}" if abs(value) > 1e-9 else "0",
        zero=True,
    )
