from __future__ import annotations

from pathlib import Path

from crossview.reporting.page import write_report
from crossview.runs.run import Run


def report(run: Run | Path | str, *, names: bool = True) -> Path:
    """Write report.html of a run again; without ``names`` a copy, report-no-names.html, that tells no case's name. Raises UserError."""
    run = run if isinstance(run, Run) else Run.open(run)
    return (
        write_report(run.path)
        if names
        else write_report(run.path, names=False, path=run.path / "report-no-names.html")
    )
