"""The verbs that train: one run, the demonstration, a suite."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossview.arguments import (
    DATA,
    OVERRIDES,
    Plugin,
    check_one_of,
    flag,
    is_run,
    load_plugin,
    run_to_make,
    with_plugin,
)
from crossview.errors import UserError
from crossview.launch import launch, leave, place, speaks
from crossview.plugins import arguments, command
from crossview.terminal import bar, print_bench, print_comparison

if TYPE_CHECKING:
    from crossview.data.plan import Plan


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the demonstration.")] = Path("runs/demo"),
    seeds: Annotated[
        int, typer.Option(min=1, help="How many seeds; the first is the recipe's own.")
    ] = 1,
    steps: Annotated[
        int | None, typer.Option(min=2, help="Steps of each run; by default the recipe's.")
    ] = None,
) -> None:
    """A few minutes on two CPU cores: phantoms, labelled-only training against CML, a report."""
    from crossview.demonstration import demo as run_demo

    result = run_demo(out, seeds=seeds, steps=steps, say=lambda text: print(text, file=sys.stderr))  # noqa: T201
    print_comparison(result.comparison)
    print(f"report: {result.report}\ntable:  {result.csv}")  # noqa: T201


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
            metavar="RUN", help="The run folder to make. Not needed to resume RECIPE, a run folder."
        ),
    ] = None,
    data: Annotated[Path | None, DATA] = None,
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    resume: Annotated[bool, flag("--resume", "Go on with the run in this folder.")] = False,
    overwrite: Annotated[
        bool, flag("--overwrite", "Delete the run in this folder and start anew.")
    ] = False,
    max_steps: Annotated[
        int | None,
        typer.Option(min=0, help="Stop, saved, after so many steps since the run began."),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            min=1, help="Train in so many processes on this machine, each with a GPU of its own."
        ),
    ] = None,
    plugin: Plugin = None,
) -> None:
    """Train a recipe; the run folder holds all that comes of it."""
    check_one_of(resume, overwrite)
    folder = run_to_make(recipe, out, resume)
    if gpus is not None and gpus > 1 and place() is None:
        sys.exit(launch(gpus, sys.argv[1:]))
    from crossview.folder import Run
    from crossview.run import train as run_train

    def tell(plan: Plan) -> None:
        from crossview.planned import told

        printed = " ".join(["crossview recipe", recipe, "--data DATA", *arguments(plugin or "")])
        print(f"{told(plan)}\nto change a key: --set KEY=VALUE, or {printed} > my.toml", flush=True)  # noqa: T201

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201

    already = resume and is_run(str(folder)) and Run(folder).finished
    sets = with_plugin(recipe, overrides or [], plugin)
    with bar("reading cases") as progress:
        run, outcome = run_train(
            recipe,
            data,
            folder,
            overrides=sets,
            resume=resume,
            overwrite=overwrite,
            max_steps=max_steps,
            gpus=gpus,
            progress=progress,
            tell=tell,
            say=say,
        )
    if speaks() and outcome.how == "finished":
        untested = run.environment.get("test") == 0
        follows = (
            command("predict", run.path, "SCANS", "--out", "predictions")
            if untested
            else command("evaluate", run.path)
        )
        how = "was finished already," if already else "finished"
        print(f"{how} after {outcome.total_step} steps: {run.path}\nnext: {follows}")  # noqa: T201
    elif speaks():
        follows = command("train", run.path, "--resume")
        print(
            f"stopped and saved after {outcome.total_step} steps: {run.path}\nto go on: {follows}"
        )  # noqa: T201
    if place() is not None or outcome.how == "interrupted":
        leave(128 + outcome.signal if outcome.how == "interrupted" else 0)


def bench(
    suite: Annotated[
        str,
        typer.Argument(
            metavar="SUITE", help="A shipped suite (crossview list suites) or a TOML file."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the runs and their table.")],
    data: Annotated[Path | None, DATA] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="ROW", help="Only this row (its label). Can be repeated."),
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this setting. Can be repeated.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Only the first so many seeds.")] = None,
    records: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder that gets a small record of each run; a run whose record is there is done.",
        ),
    ] = None,
    dry_run: Annotated[bool, flag("--dry-run", "Only tell the runs, and which are done.")] = False,
    plugin: Plugin = None,
) -> None:
    """Run a suite, methods x settings x seeds, one after the other, and compare; the same command goes on where it was stopped."""
    from crossview.runner import bench as run_bench
    from crossview.runner import outlook

    load_plugin(plugin)

    def say(text: str) -> None:
        print(text, flush=True)  # noqa: T201

    if dry_run:
        say(
            "\n".join(
                outlook(
                    suite,
                    out,
                    data,
                    only=only or (),
                    settings=setting or (),
                    seeds=seeds,
                    records=records,
                )
            )
        )
        return
    result = run_bench(
        suite,
        out,
        data,
        only=only or (),
        settings=setting or (),
        seeds=seeds,
        records=records,
        say=say,
    )
    print_bench(result, out)
    if result.stopped:
        sys.exit(128 + result.stopped)
    if result.failed:
        raise UserError(result.problems)
