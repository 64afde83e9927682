"""Comparison as a page, at the top of a run's report, as plots, or as a table in a file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from crossview.core.files import write_text
from crossview.core.text import points
from crossview.evaluation.bootstrap import Difference, p_text
from crossview.evaluation.compare import Comparison
from crossview.evaluation.rows import Row
from crossview.evaluation.tables import left_out, unit
from crossview.reporting.plots import Interval, interval_plot, overlap_limits, standalone
from crossview.reporting.svg import Drawing
from crossview.reporting.table_name import check_table_name
from crossview.reporting.templates import render
from crossview.reporting.words import row_name


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
    section = ComparisonSection(comparison)
    if path.suffix == ".svg":
        plots = [plot for plot in (section.means, section.differences) if plot is not None]
        return write_text(path, standalone(plots, title))
    page = render("comparison.html.j2", title=title, about=about, comparison=section)
    return write_text(path, page)


@dataclass(frozen=True)
class ComparisonSection:
    """A comparison as a section of a page. The template formats its rows."""

    comparison: Comparison

    @cached_property
    def rows(self) -> list[Row]:
        """Rows by setting, each with its baseline first."""
        rows = self.comparison.rows
        settings = list(dict.fromkeys(row.setting for row in rows))
        return sorted(rows, key=lambda row: (settings.index(row.setting), not row.is_baseline))

    @cached_property
    def several_settings(self) -> bool:
        """True if a row's name needs its setting."""
        return len({row.setting for row in self.rows}) > 1

    @property
    def unit(self) -> str:
        """Unit of distances."""
        return unit(self.rows)

    @property
    def notes(self) -> list[str]:
        """Sentences below the table."""
        return [*left_out(self.rows), *self.comparison.notes]

    @property
    def sentences(self) -> list[str]:
        """Differences in words."""
        return [self._sentence(row, row.difference) for row in self.rows if row.difference]

    @cached_property
    def means(self) -> Drawing | None:
        """Plot of the means; None if none is defined."""
        drawn = []
        for row in self.rows:
            dice, name = row.metrics["dice"], self._name(row)
            if not math.isnan(dice.mean):
                seeds = dice.seeds if len(dice.seeds) > 1 else ()
                hint = f"{name}: {100 * dice.mean:.2f} %"
                drawn.append(Interval(name, dice.mean, dice.ci95, hint, seeds))
        if not drawn:
            return None
        ends = [end for row in drawn for end in (row.mean, *(row.span or ()), *row.small)]
        return interval_plot(
            drawn,
            overlap_limits(ends),
            axis="Dice in %",
            label="mean Dice of each method with its 95 % interval",
            show=lambda value: f"{100 * value:g}",
        )

    @cached_property
    def differences(self) -> Drawing | None:
        """Plot of the differences, references in grey; None without any."""
        drawn = []
        for row in self.rows:
            if dice := row.difference:
                span, name = (dice.low, dice.high), self._name(row)
                mean, low, high = (f"{100 * value:+.2f}" for value in (dice.mean, *span))
                hint, colour = f"{name}: {mean} ({low} to {high})", 8 if row.reference else 1
                drawn.append(Interval(name, dice.mean, span, hint, colour=colour))
        if not drawn:
            return None
        ends = [0.0, *(end for row in drawn for end in row.span or ())]
        room = max(0.005, 0.05 * (max(ends) - min(ends)))
        baseline = row_name(self.comparison.baseline or "")
        return interval_plot(
            drawn,
            (min(ends) - room, max(ends) + room),
            letters=max(len(self._name(row)) for row in self.rows),
            axis=f"Dice against {baseline}, in points",
            label=f"differences of Dice against {baseline}, with their 95 % intervals",
            show=lambda value: f"{100 * value:+g}" if abs(value) > 1e-9 else "0",
            zero=True,
        )

    def _name(self, row: Row, method: str | None = None) -> str:
        """Return the name of a row, or of another method in its setting."""
        name = row_name(row.method if method is None else method)
        return f"{name}, {row.setting}" if self.several_settings else name

    def _sentence(self, row: Row, dice: Difference) -> str:
        span = f"{points(dice.low)} to {points(dice.high)}"
        return SENTENCES[row.verdict].format(
            row=self._name(row),
            baseline=self._name(row, self.comparison.baseline),
            figures=f"{points(dice.mean)} points of Dice, 95 % interval {span}",
            p="" if row.p is None else _p(row, dice, row.p),
        )


SENTENCES = {
    "better": "{row} is better than {baseline}: {figures}{p}.",
    "worse": "{row} is worse than {baseline}: {figures}{p}.",
    "no difference shown": "{row} shows no clear difference from {baseline}: {figures}{p}.",
    "reference": "{row} (a reference, not a competitor) against {baseline}: {figures}.",
    "one seed": "{row} against {baseline}, one seed, so no verdict: {figures}. "
    "The interval covers the scans only; other seeds may differ by as much.",
}
"""Differences in words, by verdict."""


def _p(row: Row, dice: Difference, p: float) -> str:
    """Return the p-value and, if the interval alone would show a difference, why it does not."""
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
