"""The verb report: write the page of a run again."""

from __future__ import annotations

from pathlib import Path

from crossview.reporting.page import write_report
from crossview.runs.run import Run


def report(run: Run | Path | str, *, names: bool = True) -> Path:
    """Write a run's ``report.html`` again.

    Args:
        run: A run, or its folder.
        names: False: write ``report-no-names.html`` instead, a copy without the cases' names.

    Returns:
        The report's file.

    Raises:
        UserError: If it is not a run folder, or a file in it cannot be read.
    """
    folder = (run if isinstance(run, Run) else Run.open(run)).path
    page = folder / ("report.html" if names else "report-no-names.html")
    return write_report(folder, names=names, path=page)
