"""The verbs that train: one run, the demonstration, a suite."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossview.cli.console import bar, say
from crossview.cli.options import (
    Data,
    Plugin,
    Sets,
    Steps,
    check_one_of,
    flag,
    load_plugin,
    run_to_make,
    with_plugin,
)
from crossview.core.errors import UserError
from crossview.core.plugins import arguments
from crossview.core.processes import leave, place, speaks
from crossview.core.run_folder import RunFolder
from crossview.runs.launch import launch

if TYPE_CHECKING:
    from crossview.recipe.plan import Plan
    from crossview.runs.bench.bench import Bench


STUDENT = ("data.predicted=true", "method.name=supervised")
"""Keys of --predicted."""


def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the runs and the report.")
    ] = Path("runs/demo"),
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of seeds, starting at the recipe's own.")
    ] = 1,
    steps: Annotated[
        int | None, typer.Option(min=2, help="Steps per run; by default the recipe's.")
    ] = None,
) -> None:
    """Compare labelled-only training and CML on phantoms; a few minutes on two CPU cores."""
    from crossview.cli.comparison import print_comparison
    from crossview.runs.bench.demo import demo as run_demo

    result = run_demo(out, seeds=seeds, steps=steps, say=say)
    print_comparison(result.comparison, rest="in the report")
    print(f"report: {result.report}\ntable:  {result.csv}")


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A shipped setting (crossview list recipes), a TOML file, or a run folder.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Run folder to create. Not needed if RECIPE is a run folder to resume.",
        ),
    ] = None,
    data: Data = None,
    sets: Sets = None,
    steps: Steps = None,
    resume: Annotated[bool, flag("--resume", "Resume the run in this folder.")] = False,
    overwrite: Annotated[
        bool, flag("--overwrite", "Delete the run in this folder and start over.")
    ] = False,
    max_steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Save and stop once the run has done this many steps of its schedule, "
            "to be resumed. It does not shorten the schedule: --steps does.",
        ),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(min=1, help="Number of processes to train in on this machine, one GPU each."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Begin with the weights of this run or model.pt; classes may have been added.",
        ),
    ] = None,
    predicted: Annotated[
        bool,
        flag(
            "--predicted",
            "Train a student: learn the predictions in DATA/predicted as labels of the unlabelled "
            "scans, by labelled-only training of a wider network, unless --set says otherwise.",
        ),
    ] = False,
    plugin: Plugin = None,
) -> None:
    """Train a recipe. All results are stored in the run folder."""
    check_one_of(resume, overwrite)
    folder = run_to_make(recipe, out, resume)
    if gpus is not None and gpus > 1 and place() is None:
        sys.exit(launch(gpus, sys.argv[1:]))
    from crossview.runs.train import train as run_train

    def print_plan(plan: Plan) -> None:
        words = ["crossview recipe", recipe, "--data DATA", *arguments(plugin or "")]
        change = f"to change a key: --set KEY=VALUE, or {' '.join(words)} > my.toml"
        print(f"{plan.text()}\n{change}", flush=True)

    if predicted:
        sets = [*STUDENT, *(sets or ())]
    overrides = with_plugin(recipe, sets, plugin, resume and Path(recipe) == folder)
    how = "already finished" if resume and RunFolder(folder).finished else "finished"
    with bar("reading cases") as progress:
        run, outcome = run_train(
            recipe,
            data,
            folder,
            overrides=overrides,
            resume=resume,
            overwrite=overwrite,
            steps=steps,
            max_steps=max_steps,
            gpus=gpus,
            start=start,
            progress=progress,
            tell=print_plan,
            remark=lambda text: say(f"remark: {text}"),
        )
    if speaks() and outcome.how == "finished":
        scored = run.environment.get("test") != 0
        segment = run.command("predict", "SCANS", "--out", "predictions")
        follows = run.command("evaluate") if scored else segment
        print(f"{how} after {outcome.total_step} steps: {run.path}\nnext: {follows}")
    elif speaks():
        print(f"stopped and saved after {outcome.total_step} steps: {run.path}")
        print(f"to resume: {run.command('train', '--resume')}")
    if outcome.how == "interrupted":
        leave(128 + outcome.signal)
    if place() is not None:
        leave(0)


def bench(
    suite: Annotated[
        str,
        typer.Argument(
            metavar="SUITE", help="A shipped suite (crossview list suites) or a TOML file."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the runs and their table.")],
    data: Data = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="ROW", help="Run only the row with this label. Can be repeated."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Run only this setting. Can be repeated."),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Number of seeds to run, from the first; by default all."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Cross-validation: train every run once per fold of the labelled cases, and test "
            "it on that fold. By default as the suite says.",
        ),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for a small record per run. A run with a record counts as done.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, flag("--dry-run", "List the runs and their state; train nothing.")
    ] = False,
    plugin: Plugin = None,
) -> None:
    """Train and compare a suite (methods x settings x seeds). Run it again to resume."""
    from crossview.runs.bench.bench import run_selection
    from crossview.runs.bench.outlook import outlook
    from crossview.runs.bench.runs import Selection
    from crossview.runs.bench.suite import load_suite

    load_plugin(plugin)
    asked = load_suite(suite).with_folds(folds)
    selection = Selection(asked, out, data, only or (), setting or (), seeds, records)
    if dry_run:
        print("\n".join(outlook(selection)))
        return
    result = run_selection(selection, lambda text: print(text, flush=True))
    _print_bench(result, out)
    if result.stopped:
        sys.exit(128 + result.stopped)
    if result.failed:
        raise UserError(result.problems)


def trial(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder of your scans, as for train folder.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the runs and their table.")],
    folds: Annotated[int, typer.Option(min=2, help="Number of folds of the labelled cases.")] = 3,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds; one gives no verdict.")] = 2,
    sets: Sets = None,
    steps: Annotated[
        int | None, typer.Option(min=2, help="Steps of a run of the method; by default as planned.")
    ] = None,
    plugin: Plugin = None,
) -> None:
    """Try the default method against labelled-only training on folds of your labelled scans."""
    from crossview.cli.comparison import print_comparison
    from crossview.runs.bench.trial import trial as run_trial

    overrides = with_plugin("folder", sets, plugin)
    with bar("reading cases") as progress:
        result = run_trial(
            data,
            out,
            overrides=overrides,
            folds=folds,
            seeds=seeds,
            steps=steps,
            progress=progress,
            say=lambda text: print(text, flush=True),
        )
    if result.comparison is not None:
        print_comparison(result.comparison, rest="compare.html")
        print(f"table: {out}/compare.csv, compare.md, compare.html")
    print(result.answer, flush=True)
    if result.stopped:
        sys.exit(128 + result.stopped)
    if result.problems:
        raise UserError(result.problems)


def _print_bench(result: Bench, out: Path) -> None:
    """Print the table of a suite in the folder ``out``, and the runs that are left."""
    from crossview.cli.comparison import print_comparison

    if result.comparison is not None:
        print_comparison(result.comparison, rest="compare.html")
        print(f"table: {out}/compare.csv, compare.md, compare.html")
    if result.elsewhere:
        print(f"left to another process: {len(result.elsewhere)} of {len(result.runs)} runs")
    if result.stopped:
        print("stopped and saved; run the same command to resume", flush=True)
