"""Comparison files (Markdown, CSV, HTML page, SVG plots) and the demonstration's report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossview.errors import Problem, UserError
from crossview.evaluation.compare import Comparison, Row
from crossview.evaluation.metrics import METRICS
from crossview.evaluation.tables import meaning
from crossview.files import write_text
from crossview.reporting.comparison import ComparisonTable, comparison_svg, write_comparison
from crossview.reporting.report import write_report

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
    if path.suffix == ".html":
        return write_comparison(as_table(comparison), path, title=title, about=about)
    if path.suffix == ".svg":
        return write_text(path, comparison_svg(as_table(comparison), title))
    return write_text(path, comparison.markdown() if path.suffix == ".md" else comparison.csv())


def check_table_name(path: Path) -> None:
    """Raise UserError if the suffix of `path` is not a table format."""
    if path.suffix not in TABLES:
        raise UserError(
            Problem(
                "the table's file has an unknown suffix",
                str(path),
                expected=f"a file name that ends in {', '.join(TABLES)}",
            )
        )


def write_demo(folder: Path, comparison: Comparison, shown: Path) -> tuple[Path, Path]:
    """Write report.html (the comparison, then the run ``shown``) and compare.csv in ``folder``."""
    report = write_report(
        shown,
        comparison=as_table(comparison),
        comparison_title="Phantoms",
        path=folder / "report.html",
    )
    return report, write_table(comparison, folder / "compare.csv")


def as_table(comparison: Comparison) -> ComparisonTable:
    """Return the table of a comparison for the page, by setting, each with the baseline first."""
    settings = list(dict.fromkeys(row.setting for row in comparison.rows))
    rows = sorted(
        comparison.rows, key=lambda row: (settings.index(row.setting), not row.is_baseline)
    )
    points = [
        {"method": label, "setting": run.setting, "seed": run.seed, "dice": run.mean("dice")}
        for label, run in comparison.runs
    ]
    unit = ", ".join(dict.fromkeys(row.unit for row in rows))
    return ComparisonTable(
        [_cells(row) for row in rows], points, [*meaning(comparison)[1:], *comparison.notes], unit
    )


def _cells(row: Row) -> dict[str, Any]:
    dice = row.metrics["dice"]
    low, high = dice.ci95 or (None, None)
    cells: dict[str, Any] = {
        name: getattr(row, name)
        for name in ("method", "setting", "seeds", "steps", "seconds", "selection")
    }
    cells |= {metric: row.metrics[metric].mean for metric in METRICS}
    cells |= {f"{metric}_left_out": row.metrics[metric].left_out for metric in ("hd95", "asd")}
    cells |= {
        "sd_seeds": dice.sd,
        "ci_low": low,
        "ci_high": high,
        "empty": row.empty,
        "verdict": row.verdict,
        "p": row.p,
    }
    cells["baseline"] = row.is_baseline
    if len(row.classes) > 1:
        cells["classes"] = {
            name: {metric: found[metric].mean for metric in METRICS}
            for name, found in row.classes.items()
        }
    difference = row.differences.get("dice")
    if difference is not None:
        cells |= {
            "difference": difference.mean,
            "difference_low": difference.low,
            "difference_high": difference.high,
        }
        cells |= {"p_alone": difference.p}
    return cells
