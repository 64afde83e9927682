"""The verbs that show information: report, compare, recipe, list, doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from crossview.cli.console import bar
from crossview.cli.options import Data, Json, Plugin, RunPath, Sets, Split, Steps, flag, with_plugin
from crossview.core.errors import fail, nearest


def report(
    run: RunPath,
    no_names: Annotated[
        bool, flag("--no-names", "Write report-no-names.html instead, with cases numbered.")
    ] = False,
) -> None:
    """Rewrite the report.html of a run."""
    from crossview.runs.report import report as run_report

    print(run_report(run, names=not no_names))


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Evaluated run folders, or their records."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write the table to a .md, .csv or .html file, or the plots to .svg.",
        ),
    ] = None,
    split: Split = "test",
    baseline: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="The method to compare the others with."),
    ] = None,
    mixed: Annotated[
        bool, flag("--mixed", "Allow different protocols, selections and cases in one table.")
    ] = False,
) -> None:
    """Compare runs in a table: means over seeds, intervals over cases, paired differences."""
    from crossview.reporting.table_name import check_table_name

    if out is not None:
        check_table_name(out)  # before torch is loaded and runs are read, which takes seconds

    from crossview.cli.comparison import print_comparison
    from crossview.evaluation.compare import compare as compare_runs
    from crossview.reporting.comparison import write_table

    comparison = compare_runs(runs, split=split, baseline=baseline, mixed=mixed)
    print_comparison(comparison)
    if out is not None:
        print(write_table(comparison, out))


def recipe(
    name: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A shipped setting or a TOML file.")
    ],
    data: Data = None,
    sets: Sets = None,
    steps: Steps = None,
    plugin: Plugin = None,
) -> None:
    """Print a recipe with every key resolved, to edit and train. --data plans 'folder'."""
    from crossview.recipe.length import over_steps
    from crossview.recipe.planned import commented, resolve_planned

    overrides = with_plugin(name, sets, plugin)
    if steps is not None:
        overrides += over_steps(name, overrides, steps)
    with bar("reading cases") as progress:
        resolved, plan = resolve_planned(name, overrides, data, progress)
    print(commented(resolved, plan), end="")


def list_(
    what: Annotated[
        str,
        typer.Argument(metavar="LIST", help="methods, recipes, sources, networks or suites."),
    ],
    as_json: Json = False,
) -> None:
    """List methods, recipes, sources, networks or suites."""
    from crossview.cli.listing import LISTS

    if what not in LISTS:
        fail(f"there is no list of '{what}'", fix=nearest(what, LISTS))
    found = LISTS[what]()
    if as_json:
        print(json.dumps(list(found)))
        return
    width = max(map(len, found))
    for name, about in found.items():
        print(f"{name:<{width}}  {about}")


def doctor() -> None:
    """Show versions, devices, and the fastest precision on this machine."""
    from crossview.cli.doctor import examine

    for name, found in examine().items():
        print(f"{name + ':':<26}{found}")
