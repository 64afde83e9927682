"""The verbs that show information: report, compare, recipe, list, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossview.arguments import (
    DATA,
    OVERRIDES,
    Plugin,
    RunFolder,
    flag,
    with_plugin,
)
from crossview.terminal import bar, print_comparison


def report(
    run: RunFolder,
    no_names: Annotated[
        bool, flag("--no-names", "Write report-no-names.html, with cases numbered instead.")
    ] = False,
) -> None:
    """Rewrite the report.html of a run."""
    from crossview.run import report as run_report

    print(run_report(run, names=not no_names))  # noqa: T201


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Evaluated run folders, or their records."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Also write the table to a .md, .csv or .html file, or the plots to .svg."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="test or validation.")] = "test",
    baseline: Annotated[
        str | None, typer.Option(help="The method to compare the others with.")
    ] = None,
    mixed: Annotated[
        bool, flag("--mixed", "Allow different protocols, selections and cases in one table.")
    ] = False,
) -> None:
    """Compare runs in a table: means over seeds, intervals over cases, paired differences."""
    from crossview.evaluation.compare import compare as compare_runs
    from crossview.reporting.compared import check_table_name, write_table

    if out is not None:
        check_table_name(out)
    comparison = compare_runs(runs, split=split, baseline=baseline, mixed=mixed)
    print_comparison(comparison)
    if out is not None:
        print(write_table(comparison, out))  # noqa: T201


def recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped setting or a TOML file.")],
    data: Annotated[Path | None, DATA] = None,
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    plugin: Plugin = None,
) -> None:
    """Print a recipe with every key resolved, to edit and train. Plans 'folder' from --data."""
    from crossview.planned import commented, resolve_planned

    with bar("reading cases") as progress:
        resolved, plan = resolve_planned(
            name, with_plugin(name, overrides or [], plugin), data, progress
        )
    print(commented(resolved, plan), end="")  # noqa: T201


def list_(
    what: Annotated[str, typer.Argument(metavar="methods|recipes|sources|networks|suites")],
    as_json: Annotated[bool, flag("--json", "Print the names as JSON.")] = False,
) -> None:
    """List methods, recipes, sources, networks or suites."""
    from crossview.listing import listed

    print(listed(what, as_json))  # noqa: T201


def doctor() -> None:
    """Show versions, devices, and whether bf16 is faster on this machine."""
    from crossview.doctor import examine

    for name, found in examine().items():
        print(f"{name + ':':<26}{found}")  # noqa: T201
