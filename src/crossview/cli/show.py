"""The verbs that show information: report, compare, recipe, list, doctor.

Lists of methods, recipes, sources, networks and suites, with one line about each.

The lines are read from the files themselves, so nothing heavy is imported.

Findings about this machine: versions, devices, and the precision crossview would choose.
"""

from __future__ import annotations

import ast
import importlib
import json
import shutil
from collections.abc import Callable, Mapping
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import torch
import typer

from crossview.cli.comparison import print_comparison
from crossview.cli.console import bar
from crossview.cli.options import DATA, OVERRIDES, Plugin, RunFolder, flag, with_plugin
from crossview.core.environment import environment_now
from crossview.core.errors import Problem, UserError, nearest
from crossview.networks.vnet import VNet
from crossview.recipe.layers import setting_tables, shipped_methods, shipped_settings
from crossview.runs.bench.suite import load_suite, shipped_suites
from crossview.training.device import choose_precision, find_device


def report(
    run: RunFolder,
    no_names: Annotated[
        bool, flag("--no-names", "Write report-no-names.html, with cases numbered instead.")
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
    from crossview.reporting.comparison import check_table_name, write_table

    if out is not None:
        check_table_name(out)
    comparison = compare_runs(runs, split=split, baseline=baseline, mixed=mixed)
    print_comparison(comparison)
    if out is not None:
        print(write_table(comparison, out))


def recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped setting or a TOML file.")],
    data: Annotated[Path | None, DATA] = None,
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    plugin: Plugin = None,
) -> None:
    """Print a recipe with every key resolved, to edit and train. Plans 'folder' from --data."""
    from crossview.recipe.planned import commented, resolve_planned

    with bar("reading cases") as progress:
        resolved, plan = resolve_planned(
            name, with_plugin(name, overrides or [], plugin), data, progress
        )
    print(commented(resolved, plan), end="")


def list_(
    what: Annotated[str, typer.Argument(metavar="methods|recipes|sources|networks|suites")],
    as_json: Annotated[bool, flag("--json", "Print the names as JSON.")] = False,
) -> None:
    """List methods, recipes, sources, networks or suites."""
    pass

    print(listed(what, as_json))


def doctor() -> None:
    """Show versions, devices, and whether bf16 is faster on this machine."""
    pass

    for name, found in examine().items():
        print(f"{name + ':':<26}{found}")


def _first_line(package: str, name: str) -> str:
    """Return the first line of a module's docstring."""
    text = resources.files(package).joinpath(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def methods() -> dict[str, str]:
    """Return the shipped methods."""
    return {name: _first_line("crossview.methods", name) for name in shipped_methods()}


def sources() -> dict[str, str]:
    """Return the sources of cases."""
    from crossview.data import sources

    return {name: _first_line("crossview.data.sources", name) for name in sorted(sources.names())}


def recipes() -> dict[str, str]:
    """Return the shipped settings, each with its source, labelled cases and network."""
    found = {}
    for name in shipped_settings():
        data, network = (setting_tables(name)[1][table] for table in ("data", "network"))
        labelled = (
            f"{data['labelled']} labelled" if data.get("labelled") else "all scans with labels"
        )
        found[name] = (
            f"source {data['source']}, {labelled}, "
            f"{network.get('name', 'network planned from the data')}"
        )
    return found


def networks() -> dict[str, str]:
    """Return the networks, the values of ``name`` in a recipe's [network]."""
    return {name: _first_line("crossview.networks", name) for name in ("unet", "vnet")}


def suites() -> dict[str, str]:
    """Return the shipped suites of the verb bench."""
    return {name: load_suite(name).about for name in shipped_suites()}


LISTINGS: Mapping[str, Callable[[], dict[str, str]]] = {
    "methods": methods,
    "recipes": recipes,
    "sources": sources,
    "networks": networks,
    "suites": suites,
}
"""Lists of ``crossview list``, by name."""


def listed(what: str, as_json: bool = False) -> str:
    """Return a list as text, one line per name, or its names as JSON.

    Raise UserError for an unknown list.
    """
    if what not in LISTINGS:
        raise UserError(Problem(f"there is no list of '{what}'", fix=nearest(what, LISTINGS)))
    found = LISTINGS[what]()
    if as_json:
        return json.dumps(list(found))
    width = max(map(len, found))
    return "\n".join(f"{name:<{width}}  {about}" for name, about in found.items())


LIBRARIES = (
    "numpy",
    "scipy",
    "h5py",
    "nibabel",
    "pillow",
    "connected-components-3d",
    "pydantic",
    "rich",
    "matplotlib",
)


def examine() -> dict[str, str]:
    """Return the findings by name, in display order."""
    device = find_device("auto")
    found = {name: str(value) for name, value in environment_now(device).items() if value != ""}
    found |= {name: version(name) for name in LIBRARIES}
    found["disk free"] = f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB"
    if device.type == "cuda":
        found["gpu memory"] = (
            f"{torch.cuda.get_device_properties(device).total_memory / 2**30:.1f} GiB"
        )
    precision, seconds = choose_precision(
        VNet(VNet.Options(filters=8, levels=4), channels=1, classes=2).to(device),
        torch.randn(1, 1, 48, 48, 48, device=device),
    )
    found["precision"] = (
        f"{precision} (a small V-Net, forward and backward: "
        + ", ".join(f"{k} {v:.3f} s" for k, v in seconds.items())
        + ")"
    )
    if torch.__version__.startswith("2.9"):
        found["warning"] = (
            "torch 2.9 is slow at 3D convolutions; install another version, 2.6 or later"
        )
    importlib.import_module("cc3d")
    return found
