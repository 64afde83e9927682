"""Arguments that several verbs of the command share, and what they do before a verb runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from crossview.errors import Problem, UserError

OVERRIDES = typer.Option(
    "--set",
    metavar="KEY=VALUE",
    help="Change a key of the recipe, say training.seed=1. Can be repeated.",
)
DATA = typer.Option(
    "--data", metavar="DATA", help="The data set's folder. The phantoms of 'demo' need none."
)
DATA_OF_RUN = typer.Option(
    "--data", metavar="DATA", help="The data set's folder, if it is not where it was in training."
)
DEVICE = typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")
Plugin = Annotated[
    str | None,
    typer.Option("--plugin", metavar="MODULE:CLASS", help="Your own method; its code is imported."),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Model = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or its model.pt alone.")]


def flag(name: str, about: str) -> Any:
    """An option without a value, and without a type in the help."""
    return typer.Option(name, metavar="", help=about)


def check_one_of(resume: bool, overwrite: bool) -> None:
    """Raises UserError for --resume and --overwrite together."""
    if resume and overwrite:
        raise UserError(
            Problem("--resume and --overwrite exclude each other", fix="give one of them")
        )


def run_to_make(recipe: str, out: Path | None, resume: bool) -> Path:
    """The run folder of ``crossview train``: --out, or the one that is resumed. Raises UserError without either."""
    if out is not None:
        return out
    if resume and is_run(recipe):
        return Path(recipe)
    if is_run(recipe):
        fix = "--resume goes on with this run; --out runs/NAME begins another one by its recipe"
    else:
        fix = "add --out runs/NAME" + (
            ", or give the run folder to resume in the recipe's place" if resume else ""
        )
    raise UserError(Problem("the run needs a folder", where="--out", found="none", fix=fix))


def is_run(recipe: str) -> bool:
    """Whether a recipe is given as the run folder that holds it."""
    return (Path(recipe) / "recipe.toml").is_file()


def show_version(asked: bool) -> None:
    """Print the version and stop."""
    if asked:
        from crossview import __version__, commit

        print(f"crossview {__version__} {commit()}".strip())  # noqa: T201
        raise typer.Exit


def load_plugin(plugin: str | None) -> None:
    """Make a user's own method known."""
    if plugin is not None:
        from crossview.methods.plugin import load

        load(plugin)


def with_plugin(recipe: str, sets: list[str], plugin: str | None) -> list[str]:
    """Load the plugin and return the --set texts; it is the method of a shipped setting unless another one is set."""
    load_plugin(plugin)
    named = (
        recipe.endswith(".toml")
        or is_run(recipe)
        or any(text.split("=")[0].strip() == "method.name" for text in sets)
    )
    return sets if plugin is None or named else [f"method.name={plugin}", *sets]
