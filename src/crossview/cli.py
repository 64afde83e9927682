"""The command ``crossview``: its verbs. Nothing heavy is imported until a verb runs."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossview.arguments import (
    DATA,
    DEVICE,
    OVERRIDES,
    Model,
    Plugin,
    RunFolder,
    check_one_of,
    flag,
    load_plugin,
    run_to_make,
    show_version,
    with_plugin,
)
from crossview.errors import Problem, UserError, of_system
from crossview.launch import launch, leave, place, speaks
from crossview.terminal import bar, print_bench, print_comparison, print_errors, suggestion_table, summary_table

if TYPE_CHECKING:
    from crossview.data.plan import Plan

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, metavar="", help="Print the version and stop.")
    ] = False,
) -> None:
    """Semi-supervised medical image segmentation: train from a few labelled and many unlabelled scans."""
    if context.invoked_subcommand != "train" and (here := place()) is not None and here.size > 1:
        fix = "start it once; only crossview train can be started by torchrun"
        raise UserError(Problem(f"crossview {context.invoked_subcommand} runs in one process", "", f"{here.size} processes", "one", fix))


def main() -> None:
    """Entry point. Exit codes: 0 done, 2 a fault in the input, 1 a fault of ours, 130 or 143 stopped by Ctrl-C or SIGTERM."""
    try:
        app()
    except UserError as error:
        print_errors(error)
        leave(2)
    except BrokenPipeError:  # the reader of our output has gone: head, less
        sys.exit(0)
    except OSError as error:
        print_errors(of_system(error))
        leave(2)
    except KeyboardInterrupt:
        leave(128 + signal.SIGINT)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the demonstration.")] = Path("runs/demo"),
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds; the first is the recipe's own.")] = 1,
    steps: Annotated[int | None, typer.Option(min=2, help="Steps of each run; by default the recipe's.")] = None,
) -> None:
    """A few minutes on two CPU cores: phantoms, labelled-only training against CML, a report."""
    from crossview.demonstration import demo as run_demo

    result = run_demo(out, seeds=seeds, steps=steps, say=lambda text: print(text, file=sys.stderr))  # noqa: T201
    print_comparison(result.comparison)
    print(f"report: {result.report}\ntable:  {result.csv}")  # noqa: T201


@app.command()
def check(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The data set's folder.")],
    source: Annotated[str | None, typer.Option(metavar="NAME", help="How to read it; by default its layout tells.")] = None,
    as_json: Annotated[bool, flag("--json", "For programs.")] = False,
) -> None:
    """Read a data set once and tell everything that is wrong with it. Exit code 2 if training must not begin so."""
    from crossview.data.check_data import check as check_data

    with bar("reading cases") as progress:
        found = check_data(data, source, progress=progress)
    if as_json:
        print(json.dumps(found.as_json(), indent=1))  # noqa: T201
    else:
        from rich.console import Console

        from crossview.reporting.checked import checked

        Console().print(checked(found))
    if found.errors:
        sys.exit(2)


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A shipped setting (crossview list recipes), a TOML file, or a run folder.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", help="The run folder to make. Not needed to resume RECIPE, a run folder.")
    ] = None,
    data: Annotated[Path | None, DATA] = None,
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    resume: Annotated[bool, flag("--resume", "Go on with the run in this folder.")] = False,
    overwrite: Annotated[bool, flag("--overwrite", "Delete the run in this folder and start anew.")] = False,
    max_steps: Annotated[int | None, typer.Option(min=0, help="Stop, saved, after so many steps since the run began.")] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="Train in so many processes on this machine, each with a GPU of its own.")] = None,
    plugin: Plugin = None,
) -> None:
    """Train a recipe; the run folder holds all that comes of it."""
    check_one_of(resume, overwrite)
    folder = run_to_make(recipe, out, resume)
    if gpus is not None and gpus > 1 and place() is None:
        sys.exit(launch(gpus, sys.argv[1:]))
    from crossview.run import train as run_train

    def tell(plan: Plan) -> None:
        from crossview.planned import told

        print(f"{told(plan)}\nto change a key: --set KEY=VALUE, or crossview recipe {recipe} --data DATA > my.toml", flush=True)  # noqa: T201

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201

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
        name = shlex.quote(str(run.path))
        follows = f"predict {name} SCANS --out predictions" if run.environment.get("test") == 0 else f"evaluate {name}"
        print(f"finished after {outcome.total_step} steps: {run.path}\nnext: crossview {follows}")  # noqa: T201
    elif speaks():
        follows = shlex.join(["train", str(run.path), "--resume", *(["--plugin", plugin] if plugin else [])])
        print(f"stopped and saved after {outcome.total_step} steps: {run.path}\nto go on: crossview {follows}")  # noqa: T201
    if place() is not None or outcome.how == "interrupted":
        leave(128 + outcome.signal if outcome.how == "interrupted" else 0)


@app.command()
def evaluate(
    run: RunFolder,
    data: Annotated[Path | None, DATA] = None,
    split: Annotated[str, typer.Option(help="test or validation.")] = "test",
    checkpoint: Annotated[str | None, typer.Option(help="last or selected; by default what the run's selection policy names.")] = None,
    cases: Annotated[int | None, typer.Option(min=1, help="Only the first so many cases.")] = None,
    device: Annotated[str, DEVICE] = "auto",
    plugin: Plugin = None,
) -> None:
    """Score a run on its test cases: Dice, Jaccard, HD95 and ASD per case and class, with intervals."""
    from crossview.folder import Run
    from crossview.run import evaluate as run_evaluate

    load_plugin(plugin)
    with bar("predicting") as progress:
        summary = run_evaluate(run, data, split=split, checkpoint_name=checkpoint, cases=cases, device=device, progress=progress)
    from rich.console import Console

    Console().print(summary_table(summary))
    print(f"written: {run / 'evaluation' / split}")  # noqa: T201
    if not Run(run).finished:
        print(f"remark: the run is unfinished; crossview {shlex.join(['train', str(run)])} --resume goes on with it", file=sys.stderr)  # noqa: T201


@app.command()
def predict(
    run: Model,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Scans (NIfTI, PNG, TIFF or h5), or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for the predictions.")],
    probabilities: Annotated[bool, flag("--probabilities", "Also write the class probabilities.")] = False,
    disagreement: Annotated[bool, flag("--disagreement", "Also write where the views disagree.")] = False,
    entropy: Annotated[bool, flag("--entropy", "Also write where the prediction is unsure.")] = False,
    flips: Annotated[bool, flag("--flips", "Average over mirror images, if it was trained on such.")] = False,
    resume: Annotated[bool, flag("--resume", "Leave predictions that are there, and make the others.")] = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace predictions that are there.")] = False,
    device: Annotated[str, DEVICE] = "auto",
    plugin: Plugin = None,
) -> None:
    """Segment scans; each prediction has its scan's own grid, affine and name."""
    from crossview.run import predict as run_predict

    load_plugin(plugin)
    check_one_of(resume, overwrite)
    written: list[Path] = []
    remarks: list[str] = []
    try:
        with bar("predicting") as progress:
            run_predict(
                run,
                inputs,
                out,
                probabilities=probabilities,
                disagreement=disagreement,
                entropy=entropy,
                flips=flips or None,
                resume=resume,
                overwrite=overwrite,
                device=device,
                progress=progress,
                done=written.append,
                remark=remarks.append,
            )
    except KeyboardInterrupt:
        print("what is written is whole; the same command with --resume makes the others", file=sys.stderr)  # noqa: T201
        raise
    finally:
        for text in remarks:
            print(f"remark: {text}", file=sys.stderr)  # noqa: T201
        for path in written:
            print(path)  # noqa: T201
    if not written:
        print("all predictions were there already", file=sys.stderr)  # noqa: T201


@app.command()
def suggest(
    run: RunFolder,
    data: Annotated[Path | None, DATA] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="How many scans.")] = 5,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of suggest.json and suggest.png; by default RUN/suggest.")] = None,
    as_json: Annotated[bool, flag("--json", "For programs.")] = False,
    device: Annotated[str, DEVICE] = "auto",
    plugin: Plugin = None,
) -> None:
    """Which unlabelled scans to label next: those the run doubts most, no two alike."""
    from crossview.suggesting import suggest as run_suggest

    load_plugin(plugin)
    with bar("predicting") as progress:
        suggestions = run_suggest(run, data, count=count, out=out, device=device, progress=progress)
    if as_json:
        print(json.dumps([vars(each) for each in suggestions], indent=1))  # noqa: T201
        return
    from rich.console import Console

    Console().print(suggestion_table(suggestions))
    folder = out or run / "suggest"
    print(f"pictures: {folder / 'suggest.png'}\nall doubts: {folder / 'suggest.json'}")  # noqa: T201


@app.command()
def report(
    run: RunFolder,
    no_names: Annotated[bool, flag("--no-names", "Write report-no-names.html, without the names of cases.")] = False,
) -> None:
    """Write a run's report.html again."""
    from crossview.run import report as run_report

    print(run_report(run, names=not no_names))  # noqa: T201


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders that have been evaluated, or their records.")],
    out: Annotated[Path | None, typer.Option(help="Also write this file: .md, .csv, .html or, the plots alone, .svg.")] = None,
    split: Annotated[str, typer.Option(help="test or validation.")] = "test",
    baseline: Annotated[str | None, typer.Option(help="The method the others are compared with.")] = None,
    mixed: Annotated[bool, flag("--mixed", "Allow different protocols, selections and cases in one table.")] = False,
) -> None:
    """One table of several runs: means over seeds, intervals over cases, paired differences."""
    from crossview.evaluation.compare import compare as compare_runs
    from crossview.reporting.compared import check_table_name, write_table

    if out is not None:
        check_table_name(out)
    comparison = compare_runs(runs, split=split, baseline=baseline, mixed=mixed)
    print_comparison(comparison)
    if out is not None:
        print(write_table(comparison, out))  # noqa: T201


@app.command()
def bench(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A shipped suite (crossview list suites) or a TOML file.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the runs and their table.")],
    data: Annotated[Path | None, DATA] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="ROW", help="Only this row (its label). Can be repeated.")] = None,
    setting: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this setting. Can be repeated.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Only the first so many seeds.")] = None,
    records: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that gets a small record of each run; a run whose record is there is done.")
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
        say("\n".join(outlook(suite, out, data, only=only or (), settings=setting or (), seeds=seeds, records=records)))
        return
    result = run_bench(suite, out, data, only=only or (), settings=setting or (), seeds=seeds, records=records, say=say)
    print_bench(result, out)
    if result.stopped:
        sys.exit(128 + result.stopped)
    if result.failed:
        raise UserError(result.problems)


@app.command()
def recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped setting or a TOML file.")],
    data: Annotated[Path | None, DATA] = None,
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    plugin: Plugin = None,
) -> None:
    """Print a recipe with every key resolved; edit it and train it. 'folder' is planned from --data."""
    from crossview.planned import commented, resolve_planned

    with bar("reading cases") as progress:
        resolved, plan = resolve_planned(name, with_plugin(name, overrides or [], plugin), data, progress)
    print(commented(resolved, plan), end="")  # noqa: T201


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="methods|recipes|sources|suites")],
    as_json: Annotated[bool, flag("--json", "For programs.")] = False,
) -> None:
    """What there is: methods, recipes, sources, suites."""
    from crossview.listing import listed

    print(listed(what, as_json))  # noqa: T201


@app.command()
def doctor() -> None:
    """What this machine has: versions, devices, and whether bf16 is faster here."""
    from crossview.doctor import examine

    for name, found in examine().items():
        print(f"{name + ':':<26}{found}")  # noqa: T201
