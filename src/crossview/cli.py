"""The command ``crossview``: verbs, options, how results and errors are shown. Nothing heavy is imported until a verb runs."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossview.errors import Problem, UserError, nearest

if TYPE_CHECKING:
    from crossview.prepare import Progress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Semi-supervised medical image segmentation: train from a few labelled and many unlabelled scans.",
)

OVERRIDES = typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe, say training.seed=1. Can be repeated.")
DATA = typer.Option("--data", metavar="DATA", help="The data set's folder. The phantoms of 'demo' need none.")
DEVICE = typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Model = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or its model.pt alone.")]


def main() -> None:
    """Entry point. Exit codes: 0 done, 2 a fault in the input, 1 a fault of ours, 130 or 143 stopped by Ctrl-C or SIGTERM."""
    try:
        app()
    except UserError as error:
        print_errors(error)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output has gone: head, less
        sys.exit(0)
    except OSError as error:
        print_errors(UserError(Problem(error.strerror or str(error), where=str(error.filename or ""))))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def print_errors(error: UserError) -> None:
    """Every problem on standard error, the word "error" in front of each."""
    for problem in error.problems:
        print(f"error: {problem}", file=sys.stderr)  # noqa: T201
    if len(error.problems) > 1:
        print(f"{len(error.problems)} problems", file=sys.stderr)  # noqa: T201


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """A progress bar on standard error for work that reports (done, total); it goes when all is done, and leaves the terminal to others."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    shown = Bar(console=Console(stderr=True), transient=True)
    task = shown.add_task(what, total=None)

    def stop() -> None:
        if shown.live.is_started:  # stopping what never started would print an empty line
            shown.stop()

    def report_progress(done: int, total: int) -> None:
        shown.update(task, completed=done, total=total)
        if done < total:
            shown.start()
        else:
            stop()

    try:
        yield report_progress
    finally:
        stop()


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the demonstration.")] = Path("runs/demo"),
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds; the first is the recipe's own.")] = 1,
    steps: Annotated[int | None, typer.Option(min=2, help="Steps of each run; by default the recipe's.")] = None,
) -> None:
    """A few minutes on two CPU cores: phantoms, labelled-only training against CML, a report."""
    from crossview.demonstration import demo as run_demo

    result = run_demo(out, seeds=seeds, steps=steps, say=lambda text: print(text, file=sys.stderr))  # noqa: T201
    print_wide(result.table)
    print(f"report: {result.report}\ntable:  {result.csv}")  # noqa: T201


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped setting (crossview list recipes) or a TOML file.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run folder to make.")],
    data: Annotated[Path | None, DATA] = None,
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in this folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete the run in this folder and start anew.")] = False,
    max_steps: Annotated[int | None, typer.Option(min=0, help="Stop, saved, after so many steps since the run began.")] = None,
) -> None:
    """Train a recipe; the run folder holds all that comes of it."""
    if resume and overwrite:
        raise UserError(Problem("--resume and --overwrite exclude each other", fix="give one of them"))
    from crossview.run import train as run_train

    sets = overrides or []
    with bar("reading cases") as progress:
        run, outcome = run_train(
            recipe, data, out, overrides=sets, resume=resume, overwrite=overwrite, max_steps=max_steps, progress=progress
        )
    if outcome.how == "finished":
        print(f"finished after {outcome.total_step} steps: {run.path}\nnext: crossview evaluate {run.path}")  # noqa: T201
    else:
        print(f"stopped and saved after {outcome.total_step} steps; go on with --resume: {run.path}")  # noqa: T201
    if outcome.how == "interrupted":
        sys.exit(128 + outcome.signal)


@app.command()
def evaluate(
    run: RunFolder,
    data: Annotated[Path | None, DATA] = None,
    split: Annotated[str, typer.Option(help="test or validation.")] = "test",
    checkpoint: Annotated[str | None, typer.Option(help="last or selected; by default what the run's selection policy names.")] = None,
    cases: Annotated[int | None, typer.Option(min=1, help="Only the first so many cases.")] = None,
    device: Annotated[str, DEVICE] = "auto",
) -> None:
    """Score a run on its test cases: Dice, Jaccard, HD95 and ASD per case and class, with intervals."""
    from crossview.run import evaluate as run_evaluate

    with bar("predicting") as progress:
        summary = run_evaluate(run, data, split=split, checkpoint_name=checkpoint, cases=cases, device=device, progress=progress)
    from rich.console import Console

    Console().print(summary_table(summary))
    print(f"written: {run / 'evaluation' / split}")  # noqa: T201


@app.command()
def predict(
    run: Model,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Scans (NIfTI or h5), or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for the predictions.")],
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write the class probabilities.")] = False,
    disagreement: Annotated[bool, typer.Option("--disagreement", help="Also write where the views disagree.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace predictions that are there.")] = False,
    device: Annotated[str, DEVICE] = "auto",
) -> None:
    """Segment scans; each prediction has its scan's own grid, affine and name."""
    from crossview.run import predict as run_predict

    with bar("predicting") as progress:
        written = run_predict(
            run, inputs, out, probabilities=probabilities, disagreement=disagreement, overwrite=overwrite, device=device, progress=progress
        )
    for path in written:
        print(path)  # noqa: T201


@app.command()
def report(run: RunFolder) -> None:
    """Write a run's report.html again."""
    from crossview.run import report as run_report

    print(run_report(run))  # noqa: T201


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders that have been evaluated.")],
    out: Annotated[Path | None, typer.Option(help="Also write this file: .md, .csv or .html.")] = None,
    split: Annotated[str, typer.Option(help="test or validation.")] = "test",
    baseline: Annotated[str | None, typer.Option(help="The method the others are compared with.")] = None,
    mixed: Annotated[bool, typer.Option("--mixed", help="Allow different settings, selections and cases in one table.")] = False,
) -> None:
    """One table of several runs: means over seeds, intervals over cases, paired differences."""
    from crossview.evaluation.compare import compare as compare_runs
    from crossview.reporting.compared import write_table

    comparison = compare_runs(runs, split=split, baseline=baseline, mixed=mixed)
    print_wide(comparison.table())
    if out is not None:
        print(write_table(comparison, out))  # noqa: T201


@app.command()
def recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped setting or a TOML file.")],
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
) -> None:
    """Print a recipe with every key resolved; edit it and train it."""
    from crossview.resolve import resolve

    print(resolve(name, overrides or []).toml(), end="")  # noqa: T201


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="methods|recipes|sources")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """What there is: methods, recipes, sources."""
    from crossview.recipe import shipped_methods, shipped_settings

    def source_names() -> list[str]:
        from crossview.data import sources

        return sorted(sources.names())

    listings = {"methods": shipped_methods, "recipes": shipped_settings, "sources": source_names}
    if what not in listings:
        raise UserError(Problem(f"there is no list of '{what}'", fix=nearest(what, listings)))
    names = listings[what]()
    print(json.dumps(names) if as_json else "\n".join(names))  # noqa: T201


@app.command()
def doctor() -> None:
    """What this machine has: versions, devices, and whether bf16 is faster here."""
    from crossview.doctor import examine

    for name, found in examine().items():
        print(f"{name + ':':<26}{found}")  # noqa: T201


def print_wide(table: Any) -> None:
    """Print a comparison at no less than 120 columns: a narrower table would lose figures, and the terminal can wrap lines."""
    from rich.console import Console

    Console(width=max(120, Console().width)).print(table)


def summary_table(summary: dict[str, Any]) -> Any:
    """A summary as a rich table: a row a class, the mean, and each view's mean."""
    from rich.markup import escape
    from rich.table import Table

    count, unit = len(summary["cases"]), summary["unit"]
    title = f"{summary['method']} on {summary['split']}: {count} cases, checkpoint {summary['checkpoint']} (step {summary['step']})"
    table = Table("", "Dice %", "95% interval", "Jaccard %", f"HD95 {unit}", f"ASD {unit}", title=title)

    def row(name: str, scores: dict[str, Any]) -> None:
        def number(metric: str, factor: float = 1.0) -> str:
            mean = scores[metric]["mean"]
            return "-" if mean is None else f"{factor * mean:.2f}"

        low, high = scores["dice"].get("ci95") or (None, None)
        interval = "-" if low is None or high is None else f"{100 * low:.2f} to {100 * high:.2f}"
        table.add_row(escape(name), number("dice", 100), interval, number("jaccard", 100), number("hd95"), number("asd"))

    for scores in summary["classes"].values():
        row(scores["name"], scores)
    if len(summary["classes"]) > 1:
        row("mean", summary["mean"])
    for name, view in summary["views"].items():
        row(f"{name} alone", view["mean"])
    captions = []
    if summary["optimistic"]:
        captions.append(f"selected on {summary['selection']}, optimistic")
    if summary["empty"]:
        captions.append(f"{len(summary['empty'])} empty: " + ", ".join(f"{e['case']} ({e['kind']})" for e in summary["empty"][:5]))
    table.caption = escape("; ".join(captions))
    return table
